"""Locks that save work, and never carry safety.

Several file systems have no `flock`, and some grant it to everybody. What is done under such a lock
is right without it; with it, two processes do not both do it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelkeep.errors import BusyError
from modelkeep.fs import durable, oserrors
from modelkeep.fs.oserrors import explained

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.25
_MODE = 0o666

OnWait = Callable[[float], None]


@contextmanager
def hold(
    path: Path, *, timeout: float | None = None, on_wait: OnWait | None = None
) -> Iterator[bool]:
    """Hold the exclusive lock `path` for the block. Yields whether it is really held.

    False: the file system has no locks, or this caller may not create or open the file; the work
    goes on all the same. While another holds it, waits up to `timeout` seconds (None: for ever, 0:
    not at all) and then raises `BusyError`; `on_wait` is told the seconds waited, once a second.
    The lock ends with the block or the process; the file stays. The directory must exist.
    There is no shared lock: JuiceFS leaks one for ever when its holder is killed.
    """
    fd = _acquire(path, timeout, on_wait)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            _release(fd)


def _acquire(path: Path, timeout: float | None, on_wait: OnWait | None) -> int | None:
    waiting = _Waiting(path, timeout, on_wait)
    while True:
        fd = _open(path)
        if fd is None:
            return None
        try:
            locked = _lock(fd, waiting)
        except BaseException:
            os.close(fd)
            raise
        if not locked:
            os.close(fd)
            return None
        if durable.is_inode(path, os.fstat(fd)):
            return fd
        _release(fd)  # The file was replaced while we waited; others lock the new one.


def _lock(fd: int, waiting: _Waiting) -> bool:
    import fcntl

    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting.pause()
        except OSError:
            # No locks here (ENOSYS, ENOLCK, EOPNOTSUPP, EROFS on a JuiceFS mounted read-only), or
            # a server in trouble: either way the work does not depend on the lock.
            return False
        else:
            return True


class _Waiting:
    """Counts the time spent waiting for a lock and gives up when it is over."""

    def __init__(self, path: Path, timeout: float | None, on_wait: OnWait | None) -> None:
        self._path = path
        self._timeout = timeout
        self._on_wait = on_wait
        self._started = time.monotonic()
        self._noticed = 0
        self._pause = _FIRST_PAUSE

    def pause(self) -> None:
        waited = time.monotonic() - self._started
        if self._timeout is not None and waited >= self._timeout:
            raise BusyError(
                f"another process holds the lock `{self._path}`",
                hint=f"wait until it has finished, or look for it with: fuser -v {self._path}",
                path=self._path,
            )
        if self._on_wait is not None and int(waited) > self._noticed:
            self._noticed = int(waited)
            self._on_wait(waited)
        left = _LONGEST_PAUSE if self._timeout is None else self._timeout - waited
        time.sleep(min(self._pause, left))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


def _open(path: Path) -> int | None:
    # Opened for writing always: NFS turns flock into a byte-range lock, which needs that.
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with explained("opening a lock", path):
        while True:
            try:
                with suppress(FileNotFoundError):
                    return os.open(path, flags)
                _create(path)
            except OSError as error:
                if oserrors.is_refused(error) or oserrors.is_full(error):
                    return None
                raise


def _create(path: Path) -> None:
    """Create the lock file so that nobody ever finds it with a mode that locks them out."""
    temporary = durable.temporary_beside(path)
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            durable.set_mode(fd, _MODE)  # the umask took part of it
        finally:
            os.close(fd)
        durable.name_once(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _release(fd: int) -> None:
    import fcntl

    # Explicitly, for a forked child may still have the descriptor.
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)
