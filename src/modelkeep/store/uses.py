"""Stamps of last use: empty files whose mtime tells it.

The times of the blobs themselves do not serve: access times are often off, and changing a time
needs ownership.
"""

from __future__ import annotations

import os
from pathlib import Path

# Users of a group keep must be able to stamp what others own.
_SHARED_FILE = 0o666


def stamp(path: Path) -> None:
    """Note a use now; best effort, since readers may have no right to write."""
    try:
        os.utime(path, follow_symlinks=False)
    except FileNotFoundError:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, _SHARED_FILE)
            try:
                os.fchmod(descriptor, _SHARED_FILE)
            finally:
                os.close(descriptor)
        except OSError:
            return  # a use that cannot be recorded is still a use
    except OSError:
        return
