"""Bare `modelkeep`: what there is, and what to type next."""

from __future__ import annotations

from modelkeep.cli import human
from modelkeep.cli.options import Invocation
from modelkeep.cli.placed import activation
from modelkeep.errors import NotFoundError


def overview(invocation: Invocation) -> int:
    """Show the keep, its size and what it saves, and the next command to type."""
    try:
        keep = invocation.open_keep()
    except NotFoundError:
        following = "modelkeep pull org/name"
        invocation.output.emit(
            {"keep": None, "caches": [], "next": following},
            human=[
                "keep     none yet; the first pull makes one, a group's is made by modelkeep init",
                f"next     {following}",
            ],
        )
        return 0
    found = keep.list()
    store = found.store
    if not found.repos:
        following = "modelkeep pull org/name"
    else:
        following = activation(invocation, keep.hub.directory) or "modelkeep ls"
    summary = {
        "dir": keep.directory,
        "mode": keep.store.mode,
        "repos": len(found.repos),
        "bytes": store.bytes,
        "bytes_saved": store.bytes_saved,
    }
    invocation.output.emit(
        {"keep": summary, "caches": [], "next": following},
        human=[
            f"keep     {keep.directory} ({keep.store.mode})",
            f"holds    {human.counted(len(found.repos), 'repo')}, {human.size(store.bytes)}",
            f"saved    {human.size(store.bytes_saved)} by sharing",
            f"next     {following}",
        ],
        quiet=[str(keep.directory)],
    )
    return 0
