"""What answers of the system mean, and how they are told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from modelkeep.errors import AccessError, ModelkeepError, NoSpaceError, ReadOnlyError
from modelkeep.fs import oserrors


def made(number: int, filename: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), filename)


@pytest.mark.parametrize(
    ("number", "kind", "exit_code"),
    [
        (errno.ENOSPC, NoSpaceError, 6),
        (errno.EDQUOT, NoSpaceError, 6),
        (errno.EROFS, ReadOnlyError, 4),
        (errno.EACCES, AccessError, 4),
        (errno.EPERM, AccessError, 4),
        (errno.EIO, ModelkeepError, 1),
        (errno.ESTALE, ModelkeepError, 1),
        (errno.ENOENT, ModelkeepError, 1),
    ],
)
def test_each_answer_has_its_place_in_the_tree(
    number: int, kind: type[ModelkeepError], exit_code: int, tmp_path: Path
) -> None:
    error = oserrors.translate(made(number), tmp_path, doing="publishing a blob")

    assert type(error) is kind
    assert error.exit_code == exit_code
    assert error.errno == number
    assert error.path == str(tmp_path)
    assert error.message.endswith(f" while publishing a blob: `{tmp_path}`")


def test_messages_begin_in_lower_case_and_name_the_file_of_the_error() -> None:
    error = oserrors.translate(made(errno.ENOSPC, "/x/y"), doing="writing")

    assert error.message == "no space left on device while writing: `/x/y`"
    assert error.hint is not None


def test_a_refusal_names_the_nearest_owner(tmp_path: Path) -> None:
    error = oserrors.translate(made(errno.EACCES), tmp_path / "no" / "file", doing="writing")

    assert error.hint is not None
    assert error.hint.startswith(f"`{tmp_path}` belongs to uid {os.getuid()}")


def test_explained_wraps_errors_of_files_and_keeps_the_cause(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelkeepError, match="is a directory while reading") as caught,
        oserrors.explained("reading", tmp_path),
    ):
        tmp_path.read_bytes()

    assert isinstance(caught.value.__cause__, IsADirectoryError)


def test_explained_lets_a_missing_file_and_its_own_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), oserrors.explained("reading"):
        (tmp_path / "gone").read_bytes()
    with (
        pytest.raises(NoSpaceError, match="inner"),
        oserrors.explained("outer"),
        oserrors.explained("inner"),
    ):
        raise made(errno.ENOSPC)


@pytest.mark.parametrize(
    ("name", "capability", "lasting"),
    [
        ("EXDEV", True, True),
        ("EOPNOTSUPP", True, True),
        ("ENOTTY", True, True),
        ("ENOSYS", True, True),
        ("EPERM", True, False),
        ("EINVAL", True, False),
        ("EMLINK", False, False),
        ("ENOENT", False, False),
        ("EACCES", False, False),
        ("EEXIST", False, False),
        ("ENOSPC", False, False),
        ("EROFS", False, False),
        ("EIO", False, False),
    ],
)
def test_only_missing_capabilities_go_down_a_rung(
    name: str, capability: bool, lasting: bool
) -> None:
    error = made(getattr(errno, name))

    assert oserrors.is_capability(error) is capability
    assert oserrors.is_lasting(error) is lasting


def test_errors_have_names() -> None:
    assert oserrors.name(made(errno.EXDEV)) == "EXDEV"
    assert oserrors.name(OSError("odd")) == "errno None"
