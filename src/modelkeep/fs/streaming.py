"""Reads whole files once, without pushing out of memory what others work with.

A verification reads more than memory holds. What was not cached before is dropped behind it, so
that weights other processes have mapped stay where they are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import oserrors

_PROBES = 8
_WINDOW = 32 << 20
_WORTH_DROPPING = 1 << 20


class NotRegularError(ModelkeepError):
    """What should be a file is something else: a folder, a link, a pipe."""


@contextmanager
def opened(path: Path, *, follow: bool) -> Iterator[int]:
    """Open a regular file for reading, for the block. Raises plain `OSError`, and never waits.

    NotRegularError for anything else; without `follow` also for a symbolic link.
    """
    if not follow and path.is_symlink():
        raise NotRegularError("a symbolic link stands in its place", path=path)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "something that is no file"
            raise NotRegularError(f"{what} stands in its place", path=path)
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class Pass:
    """One pass over an open file from its beginning: tell it of the bytes read as they come."""

    descriptor: int
    size: int
    _drops: bool = field(init=False)
    _read: int = 0
    _dropped: int = 0

    def __post_init__(self) -> None:
        advises = hasattr(os, "posix_fadvise")
        self._drops = (
            advises and self.size >= _WORTH_DROPPING and not _in_memory(self.descriptor, self.size)
        )
        if advises:
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def advanced(self, count: int) -> None:
        """Note that `count` more bytes were read."""
        self._read += count
        if self._drops and (self._read - self._dropped >= _WINDOW or self._read >= self.size):
            length = self._read - self._dropped
            os.posix_fadvise(self.descriptor, self._dropped, length, os.POSIX_FADV_DONTNEED)
            self._dropped = self._read


def _in_memory(descriptor: int, size: int) -> bool:
    """Tell whether some of a file is in memory already; True where that cannot be told."""
    if not hasattr(os, "RWF_NOWAIT"):
        return True
    buffer = [bytearray(1)]
    for number in range(_PROBES):
        try:
            os.preadv(descriptor, buffer, size * number // _PROBES, os.RWF_NOWAIT)
        except BlockingIOError:
            continue
        except OSError as error:
            return not oserrors.is_lost(error)
        return True
    return False
