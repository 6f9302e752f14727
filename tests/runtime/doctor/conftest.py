"""What the tests of the doctor share: keeps to look at, and one question at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelkeep.keep import Keep
from modelkeep.runtime.doctor import CHECKS, Finding, Status, Subject, examine, mend
from modelkeep.settings import Decided
from tests.filesystems import public_directory

Ask = Callable[..., Finding]


@pytest.fixture
def group_keep() -> Iterator[Keep]:
    """A group keep that other users can reach."""
    with public_directory() as public:
        yield Keep.create(public / "keep", mode="group")


def subject(keep: Keep | Path, **parts: Any) -> Subject:
    """A keep as seen by who named it on the command line."""
    directory = keep if isinstance(keep, Path) else keep.directory
    return Subject(Decided("--keep", str(directory), "option"), **parts)


def found(keep: Keep | Path, check_id: str, **parts: Any) -> Finding:
    """What one check says of a keep."""
    (check,) = (check for check in CHECKS if check.id == check_id)
    ((finding),) = (each.finding for each in examine(subject(keep, **parts), [check]))
    return finding


def is_ok(keep: Keep | Path, check_id: str, **parts: Any) -> bool:
    return found(keep, check_id, **parts).status is Status.OK


def mended(keep: Keep | Path, check_id: str, **parts: Any) -> list[str]:
    """Apply the remedies of one check; return what was done, asserting that all of it was."""
    (check,) = (check for check in CHECKS if check.id == check_id)
    done = mend(examine(subject(keep, **parts), [check]))
    assert [each.error for each in done] == [None] * len(done)
    return [each.does for each in done]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Set the umask for the test."""
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)
