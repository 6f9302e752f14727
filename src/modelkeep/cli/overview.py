"""Bare `modelkeep`: what there is, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelkeep import settings
from modelkeep.cli import human
from modelkeep.cli.options import Invocation
from modelkeep.cli.placed import activation
from modelkeep.errors import NotFoundError

if TYPE_CHECKING:
    from modelkeep.hub.survey import CacheSurvey
    from modelkeep.keep import Keep

_START = "modelkeep pull org/name"


def overview(invocation: Invocation) -> int:
    """Show the keep and what it saves, other caches, and the next command to type."""
    try:
        keep = invocation.open_keep()
    except NotFoundError:
        keep = None
    caches = _caches(keep)
    if keep is None:
        _show(invocation, None, ["keep     none yet; the first pull makes one"], caches, _START)
        return 0
    listing = keep.list()
    repos, store = len(listing.repos), listing.store
    summary = {
        "dir": keep.directory,
        "mode": keep.store.mode,
        "repos": repos,
        "bytes": store.bytes,
        "bytes_saved": store.bytes_saved,
    }
    lines = [
        f"keep     {keep.directory} ({keep.store.mode})",
        f"holds    {human.counted(repos, 'repo')}, {human.size(store.bytes)}",
        f"saved    {human.size(store.bytes_saved)} by sharing",
    ]
    used = activation(invocation, keep.hub.directory) or "modelkeep ls"
    _show(invocation, summary, lines, caches, used if repos else _START)
    return 0


def _show(
    invocation: Invocation,
    keep: Mapping[str, object] | None,
    lines: list[str],
    caches: tuple[CacheSurvey, ...],
    following: str,
) -> None:
    for cache in caches:
        held = f"{human.counted(cache.repos, 'repo')}, {human.size(cache.bytes)}"
        twice = f"; {human.size(cache.bytes_duplicate)} twice" if cache.bytes_duplicate else ""
        lines.append(f"cache    {cache.dir}: {held}{twice}")
    invocation.output.emit(
        {"keep": keep, "caches": caches, "next": following},
        human=[*lines, f"next     {following}"],
        quiet=[str(keep["dir"])] if keep else [],
    )


def _caches(keep: Keep | None) -> tuple[CacheSurvey, ...]:
    from modelkeep.hub.survey import survey

    used_here, usual = settings.loader_cache(), settings.loader_cache({})
    places = dict.fromkeys(Path(decided.value).resolve() for decided in (used_here, usual))
    if keep is not None:
        places.pop(keep.hub.directory.resolve(), None)
    return survey(places, keep.store if keep else None)
