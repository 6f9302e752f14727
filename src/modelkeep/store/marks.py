"""Marks in `condemned/`: who takes something away says so first, and who uses something waits.

A mark is set before its owner looks whether anything is in use, and removed when the owner is done.
A consumer that made its use known, by a reference or a lease, and then waited until the mark was
gone, finds the thing there for good, or gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable, oserrors
from modelkeep.fs.clock import now_ns
from modelkeep.fs.oserrors import explained
from modelkeep.store.digest import Digest
from modelkeep.store.layout import StoreLayout

# A live collector holds a mark for milliseconds; one that is older belongs to a dead or stopped
# collector, which will find its mark gone.
_LIFETIME_S = 10.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of this process: known by its nonce, or on a full disk, without, by inode and time."""

    path: Path
    nonce: bytes
    identity: tuple[int, int]

    def holds(self) -> bool:
        """Tell whether consumers still wait for it: none has lost patience and removed it."""
        try:
            if self.nonce:
                return self.path.read_bytes() == self.nonce
            return _identity(self.path.stat()) == self.identity
        except OSError:
            return False


@contextmanager
def condemned(layout: StoreLayout, digest: Digest) -> Iterator[Mark | None]:
    """Set the mark of a blob for the block; None where another collector is working on it."""
    path = layout.condemned(digest)
    mark = _set(path)
    if mark is None:
        _wait_out(layout, path)
        mark = _set(path)
    if mark is None:
        yield None
        return
    with _removed(mark):
        yield mark


@contextmanager
def announced(layout: StoreLayout) -> Iterator[Mark]:
    """Set a mark for the block that says: names are about to go. Any number may stand at once."""
    mark = _set(layout.condemned_marks / durable.unique_name("removal-"))
    assert mark is not None  # nobody else has that name
    with _removed(mark):
        yield mark


def wait_out(layout: StoreLayout, digest: Digest) -> None:
    """Wait until no collector is working on a blob. Call between referring to it and using it."""
    _wait_out(layout, layout.condemned(digest))


def wait_out_all(layout: StoreLayout) -> None:
    """Wait until all that is being taken away now is gone, or stays. Call after taking a lease."""
    with explained("looking for marks", layout.condemned_marks):
        names = os.listdir(layout.condemned_marks)  # noqa: PTH208 - before every command of `exec`
    for name in names:
        _wait_out(layout, layout.condemned_marks / name)


def _wait_out(layout: StoreLayout, mark: Path) -> None:
    started = time.monotonic()
    while mark.exists():
        # By a clock of ours too: one that was set back may have left a mark from the future.
        if time.monotonic() - started > _LIFETIME_S or _is_outlived(layout, mark):
            with suppress(ModelkeepError):  # a reader may not remove it and need not
                durable.remove(mark)
            return
        time.sleep(_POLL_S)


def _is_outlived(layout: StoreLayout, mark: Path) -> bool:
    try:
        set_at = mark.stat().st_mtime_ns
        return now_ns(layout.tmp) - set_at > _LIFETIME_S * 1e9
    except (FileNotFoundError, ModelkeepError):
        return False


def _set(path: Path) -> Mark | None:
    nonce = durable.unique_name().encode()
    with explained("condemning", path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return None
        try:
            os.write(descriptor, nonce)
        except OSError as error:
            if not oserrors.is_full(error):
                path.unlink()
                raise
            nonce = b""  # what is taken away next makes room
        finally:
            identity = _identity(os.fstat(descriptor))
            os.close(descriptor)
    return Mark(path, nonce, identity)


def _identity(status: os.stat_result) -> tuple[int, int]:
    """Tell a mark from later ones of its name: those are made after this has grown old."""
    return status.st_ino, status.st_mtime_ns


@contextmanager
def _removed(mark: Mark) -> Iterator[None]:
    try:
        yield
    finally:
        if mark.holds():
            durable.remove(mark.path)
