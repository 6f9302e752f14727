"""What the kernel says of the mounts: what kind of file system a path lies on, who sees it how."""

from __future__ import annotations

import os
import re
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")

# Kinds that one machine has for itself. All others may have users on several.
_LOCAL = frozenset(
    {
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "reiserfs", "jfs"),
        *("tmpfs", "ramfs", "overlay", "aufs", "squashfs", "fuse-overlayfs", "fuse.fuse-overlayfs"),
        *("vfat", "exfat", "ntfs", "ntfs3", "fuseblk", "apfs", "hfs", "ufs"),
    }
)


def is_shared(kind: str) -> bool:
    """Tell whether a file system of this type may be used from several machines at once."""
    return kind not in _LOCAL


def fs_type(path: Path) -> str:
    """Return the type the kernel gives the mount under `path`: `ext4`, `nfs4`, `fuse.juicefs` …

    `unknown` where the system keeps no table of mounts.
    """
    try:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return "unknown"
    return parse(table, os.path.realpath(path))


def parse(table: str, path: str) -> str:
    """Return the type of the longest mount point that is a prefix of the absolute `path`."""
    best, found = -1, "unknown"
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = _OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # Of mounts stacked on one point the last is the one that is seen.
        if inside and len(point) >= best:
            best, found = len(point), after.split(" ")[0]
    return found
