"""Bytes arrive whole by whichever way the kernel allows."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkeep.fs import copying

CONTENT = os.urandom(5 << 20)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A file with contents and an empty one, open."""
    (tmp_path / "source").write_bytes(CONTENT)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("xb") as target:
        yield source.fileno(), target.fileno()


def refusing(*_arguments: object) -> int:
    raise OSError(errno.EXDEV, "not between these")


def ending_early(_source: int, _target: int, *_rest: object) -> int:
    return 0


@pytest.mark.parametrize("shortcuts", ["all", "sendfile", "none"])
def test_every_way_gives_the_same_bytes(
    shortcuts: str, pair: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Kernels and file systems that lack these calls are not to be had together.
    if shortcuts != "all":
        monkeypatch.setattr(os, "copy_file_range", refusing)
    if shortcuts == "none":
        monkeypatch.setattr(os, "sendfile", refusing)
    seen: list[int] = []

    assert copying.copy(*pair, len(CONTENT), progress=seen.append) == len(CONTENT)

    assert (tmp_path / "target").read_bytes() == CONTENT
    assert sum(seen) == len(CONTENT)


def test_a_kernel_that_ends_early_without_an_error_is_not_believed(
    pair: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As some kernels did for files of FUSE servers that report a size of zero.
    monkeypatch.setattr(os, "copy_file_range", ending_early)

    copying.copy(*pair, len(CONTENT))

    assert (tmp_path / "target").read_bytes() == CONTENT


def test_a_way_that_stops_halfway_is_continued_by_the_next(
    pair: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_file_range = os.copy_file_range

    def halfway(source: int, target: int, count: int, offset: int, at: int) -> int:
        if offset:
            raise OSError(errno.EINVAL, "no more")
        return copy_file_range(source, target, 1 << 20, offset, at)

    monkeypatch.setattr(os, "copy_file_range", halfway)

    copying.copy(*pair, len(CONTENT))

    assert (tmp_path / "target").read_bytes() == CONTENT


def test_a_source_shorter_than_promised_is_an_error(pair: tuple[int, int]) -> None:
    with pytest.raises(copying.ShortCopyError, match=r"only 5242880 of 5242881 bytes"):
        copying.copy(*pair, len(CONTENT) + 1)


def test_real_failures_do_not_try_another_way(
    pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_arguments: object) -> int:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "copy_file_range", failing)

    with pytest.raises(OSError, match="broken disk"):
        copying.copy(*pair, len(CONTENT))


def test_cloning_on_the_server_copies_the_range(pair: tuple[int, int], tmp_path: Path) -> None:
    copying.clone_on_server(*pair, len(CONTENT))

    assert (tmp_path / "target").read_bytes() == CONTENT
