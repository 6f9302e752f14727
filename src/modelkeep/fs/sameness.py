"""What a file has until somebody writes to it or replaces it."""

from __future__ import annotations

import os
from typing import TypeAlias

Identity: TypeAlias = tuple[int, int, int]
"""Inode, size and modification time in nanoseconds."""


def identity(status: os.stat_result) -> Identity:
    """Return what tells whether a file has the bytes it had.

    ctime is left out on purpose: making a hard link changes it.
    """
    return status.st_ino, status.st_size, status.st_mtime_ns
