"""Room on a file system, and room a file takes."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path

from modelkeep.errors import NoSpaceError
from modelkeep.fs.oserrors import explained

_BLOCK = 512  # the unit of st_blocks, whatever the block size of the file system


def free_bytes(path: Path) -> int:
    """Return how much this caller may still write where `path` is, or would be created.

    What root keeps in reserve does not count; a quota may be smaller and is not seen. 0 where the
    file system tells nothing.
    """
    status = _statvfs(path)
    return status.f_bavail * (status.f_frsize or status.f_bsize)


def free_files(path: Path) -> float:
    """Return how many files this caller may still make there; infinite where nothing limits it."""
    status = _statvfs(path)
    return status.f_favail if status.f_files else math.inf


def _statvfs(path: Path) -> os.statvfs_result:
    with explained("asking for free space", path):
        for candidate in (path, *path.absolute().parents):
            try:
                return os.statvfs(candidate)
            except (FileNotFoundError, NotADirectoryError):
                continue
    raise FileNotFoundError(os.fspath(path))


def allocated_bytes(status: os.stat_result) -> int:
    """Return what an inode takes on the disk: less than its size when sparse or compressed."""
    return status.st_blocks * _BLOCK


def freed_by(status: os.stat_result) -> int:
    """Return what the disk gets back when this name of an inode goes: nothing if it has others."""
    if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
        return 0
    return allocated_bytes(status)


def require_free(path: Path, needed: int, *, doing: str) -> None:
    """Raise `NoSpaceError` unless `needed` bytes are free; `doing` is a gerund: `pulling X`.

    Where the file system tells no size at all, as ramfs and some servers do, writing finds out.
    """
    free = free_bytes(path)
    if needed > free and _statvfs(path).f_blocks:
        raise NoSpaceError(
            f"{doing} needs {readable(needed)}, only {readable(free)} are free at `{path}`",
            hint=f"make room for {readable(needed - free, rounding_up=True)} more:"
            " `modelkeep gc --all --dry-run` shows what could go",
            path=path,
        )


def readable(size: int, *, rounding_up: bool = False) -> str:
    """Return a size as people read it, in decimal units as disks and the Hub count: `12.3 GB`."""
    if size < 1000:
        return f"{size} B"
    value, unit = size / 1000, "kB"
    for larger in ("MB", "GB", "TB", "PB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    digits = 1 if value < 99.95 else 0
    if rounding_up:
        value = math.ceil(value * 10**digits) / 10**digits
    return f"{value:.{digits}f} {unit}"
