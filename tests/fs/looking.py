"""What tests look at on a disk."""

from __future__ import annotations

import stat
from pathlib import Path


def names(directory: Path) -> set[str]:
    """Return what lies in a directory, but for the home folder every test has."""
    return {path.name for path in directory.iterdir()} - {"home"}


def mode_of(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)
