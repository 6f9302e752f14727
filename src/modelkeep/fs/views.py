"""Who on this machine sees a directory read-only: containers, mostly."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from modelkeep.fs.mounts import Mount, parse, table, under

_PROC = Path("/proc")


def read_only_view(directory: Path) -> str | None:
    """Name a process that sees a directory through a read-only mount, and where; None for none.

    Only what this caller may see is looked at, so None proves nothing. A service that merely has
    all of this machine's mounts made read-only does not count.
    """
    real = os.path.realpath(directory)
    ours = table()
    mount = under(ours, real)
    if mount is None:
        return None
    rest = real[len(mount.point) :].lstrip("/")
    inside = os.path.normpath(f"{mount.root.rstrip('/')}/{rest}")
    seen = set()
    for process in _PROC.glob("[0-9]*"):
        try:
            text = (process / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            continue  # ended, or not for us to look at
        if text in seen:
            continue
        seen.add(text)
        point = _seen_at(parse(text), mount, inside, _top(ours))
        if point is not None:
            return f"process {process.name} sees it read-only at `{point}`"
    return None


def _seen_at(
    mounts: Sequence[Mount], mount: Mount, inside: str, top: tuple[str, str] | None
) -> str | None:
    """Return where some mounts show a part of a file system, or all of it, to be read only."""
    foreign = _top(mounts) != top
    for each in mounts:
        shows = each.device == mount.device and (
            _holds(each.root, inside) or _holds(inside, each.root)
        )
        if shows and each.read_only and (foreign or each.root != mount.root):
            return each.point
    return None


def _top(mounts: Sequence[Mount]) -> tuple[str, str] | None:
    """Return what is mounted as the root directory: containers have one of their own."""
    mount = under(mounts, "/")
    return (mount.device, mount.root) if mount else None


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
