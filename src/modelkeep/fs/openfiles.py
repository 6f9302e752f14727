"""Which files the processes of this machine have open, as far as this caller may see."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def still_open(paths: Collection[Path]) -> set[Path]:
    """Return those of some files that a visible process has open, under whatever name.

    Nothing follows for the others: their users may be in another container, or another user's.
    """
    wanted = {}
    for path in paths:
        with suppress(OSError):
            status = path.lstat()
            wanted[status.st_dev, status.st_ino] = path
    found = set()
    for folder in _PROC.glob("[0-9]*/fd") if wanted else ():
        try:
            names = os.listdir(folder)  # noqa: PTH208 - thousands of them
        except OSError:
            continue  # ended, or somebody else's
        for name in names:
            with suppress(OSError):
                status = os.stat(f"{folder}/{name}")  # noqa: PTH116 - the same
                if (status.st_dev, status.st_ino) in wanted:
                    found.add(wanted[status.st_dev, status.st_ino])
    return found
