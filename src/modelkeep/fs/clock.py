"""The file system's own clock: on a shared one, the only clock all its users have in common."""

from __future__ import annotations

import os
from pathlib import Path

from modelkeep.fs import oserrors
from modelkeep.fs.durable import temporary_beside
from modelkeep.fs.oserrors import explained


def now_ns(directory: Path) -> int:
    """Return the time, in nanoseconds, that the file system gives a file created there just now.

    Compare it with modification times of other files there, never with this machine's clock. On a
    full disk it is the time that the directory gets when it is touched.
    """
    probe = temporary_beside(directory / "clock")
    with explained("asking the file system for the time", directory):
        try:
            fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if not oserrors.is_full(error):
                raise
            os.utime(directory)
            return directory.stat().st_mtime_ns
        try:
            return os.fstat(fd).st_mtime_ns
        finally:
            os.close(fd)
            probe.unlink(missing_ok=True)
