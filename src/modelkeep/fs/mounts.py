"""What the kernel says of the mounts: what kind of file system a path lies on, who sees it how."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of the kernel's table.

    `point` is where it is seen, `root` which folder of its file system is seen there, `device` that
    file system's number as `major:minor`, `kind` its type.
    """

    point: str
    root: str
    device: str
    kind: str
    read_only: bool = False


def is_shared(kind: str) -> bool:
    """Tell whether a file system of this type may be used from several machines at once."""
    return kind not in _LOCAL


def fs_type(path: Path) -> str:
    """Return the type the kernel gives the mount under `path`: `ext4`, `nfs4`, `fuse.juicefs` …

    `unknown` where the system keeps no table of mounts.
    """
    mount = under(table(), os.path.realpath(path))
    return mount.kind if mount else "unknown"


def table(process: str | os.PathLike[str] = "/proc/self") -> tuple[Mount, ...]:
    """Return what a process sees mounted; nothing where that cannot be read."""
    try:
        text = Path(process, "mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ()
    return parse(text)


def parse(text: str) -> tuple[Mount, ...]:
    """Read a table of mounts, in its order."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) >= 5 and after:
            root, point = (_OCTAL.sub(lambda code: chr(int(code[1], 8)), f) for f in fields[3:5])
            read_only = "ro" in fields[5].split(",") if len(fields) > 5 else False
            found.append(Mount(point, root, fields[2], after.split(" ")[0], read_only))
    return tuple(found)


def under(mounts: Sequence[Mount], path: str) -> Mount | None:
    """Return the mount with the longest point that is a prefix of the absolute `path`.

    Nothing is looked at: links in the path are for the caller to follow.
    """
    best = None
    for mount in mounts:
        inside = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        # Of mounts stacked on one point the last is the one that is seen.
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best
