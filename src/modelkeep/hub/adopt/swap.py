"""Replaces a cache by a link to the keep's hub, and puts it back.

With `renameat2` a path of the cache resolves at every moment, before to the old folder and then to
the hub. Where there is no such call two renames do it, and the path is missing in between. A crash
between any two steps is told from what stands under the three names.
"""

from __future__ import annotations

import os
from pathlib import Path

from modelkeep.errors import UsageError
from modelkeep.fs import durable, mounts
from modelkeep.fs.exchange import exchange
from modelkeep.fs.oserrors import explained
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.adopt.places import ASIDE


def aside_of(cache: Path) -> Path:
    """Return a name beside the cache that nobody else has chosen."""
    return cache.parent / durable.unique_name(f"{cache.name}{ASIDE}")[: len(cache.name) + 19]


def require_replaceable(cache: Path) -> None:
    """Raise unless the cache's name may be given to something else."""
    if any(mount.point == str(cache) for mount in mounts.table()) or cache.is_mount():
        raise UsageError(
            f"`{cache}` is a mount point, which cannot be replaced by a link",
            hint="leave out --merge, or mount the keep there",
            path=cache,
        )
    trial = durable.temporary_beside(cache)
    with explained("replacing the cache by a link", cache.parent):
        trial.symlink_to(cache)
        trial.unlink()


def folder_of(cache: Path, aside: Path | None) -> Path | None:
    """Return where the cache's own folder stands; None where it is under none of its names."""
    places = (cache,) if aside is None else (aside, _link_of(aside), cache)
    return next((place for place in places if _is_folder(place)), None)


def set_aside(cache: Path, aside: Path, hub: Path) -> bool:
    """Let `cache` be a link to `hub` and its folder stand at `aside`. Calling it again goes on.

    True where its path was never missing.
    """
    link = _link_of(aside)
    whole = True
    with explained("replacing the cache by a link", cache):
        if _is_folder(cache):
            if not link.is_symlink():
                link.symlink_to(hub)
            reach("adopt:linked")
            whole = exchange(link, cache)
            if not whole:
                cache.rename(aside)
            reach("adopt:exchanged")
        if _is_folder(link):
            link.rename(aside)
        if not os.path.lexists(cache):
            if not link.is_symlink():
                link.symlink_to(hub)
            link.rename(cache)
        durable.sync_dir(cache.parent)
    reach("adopt:replaced")
    return whole


def put_back(cache: Path, aside: Path) -> None:
    """Let the folder at `aside` be the cache again. Calling it again goes on."""
    with explained("putting the cache back", cache):
        link = _link_of(aside)
        if _is_folder(link):
            link.rename(aside)
        if _is_folder(aside):
            if not os.path.lexists(cache):
                aside.rename(cache)
            elif not cache.is_symlink():
                raise UsageError(
                    f"`{cache}` is no longer the link that the merge made",
                    hint=f"move it away; the old cache is `{aside}`",
                    path=cache,
                )
            elif not exchange(aside, cache):
                cache.unlink()
                aside.rename(cache)
            reach("undo:exchanged")
        for path in (aside, link):
            if path.is_symlink():
                path.unlink()
        durable.sync_dir(cache.parent)
    reach("undo:replaced")


def _link_of(aside: Path) -> Path:
    return aside.parent / f"{aside.name}-link"


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
