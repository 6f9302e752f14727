"""Bare `modelkeep`: what there is on this machine, and what to type next."""

from __future__ import annotations

import os
from collections.abc import Iterable
from shlex import quote
from typing import TYPE_CHECKING

from modelkeep.cli import document, failure, human
from modelkeep.cli.options import Invocation
from modelkeep.cli.placed import activation
from modelkeep.cli.table import Table
from modelkeep.errors import ModelkeepError, NotFoundError

if TYPE_CHECKING:
    from modelkeep.hub.listing import Listing
    from modelkeep.hub.survey import CacheSurvey, Survey
    from modelkeep.keep import Keep

_START = "pull sentence-transformers/all-MiniLM-L6-v2"
_SHOWN = 12


def overview(invocation: Invocation) -> int:
    """Show the keep and what it saves, the machine's caches, and the next command to type.

    A keep that does not open is told of at the end, and the exit code is that of its error.
    """
    keep, problem = _open(invocation)
    survey = _survey(keep)
    listing = keep.list() if keep else None
    summary = _summary(keep, listing) if keep and listing else None
    adopting = None if problem else _adopt(survey, empty=not (listing and listing.repos))
    if problem:
        following = invocation.typed("doctor")
    elif adopting:
        following = invocation.typed(adopting)
    elif any(cache.needs_root for cache in survey.caches):
        following = _as_root(invocation)
    elif keep and listing and listing.repos:
        following = activation(invocation, keep.hub.directory) or invocation.typed("ls")
    else:
        following = invocation.typed(_START)
    advice = "   (shares by link, undoable; --dry-run shows the plan)" if adopting else ""
    found = {
        "keep": summary,
        "caches": survey.caches,
        "skipped": survey.skipped,
        "next": following,
    }
    code = failure.exit_code(invocation, problem) if problem else 0
    invocation.output.emit(
        {**found, "error": document.error(problem, code)} if problem else found,
        human=[
            *_caches(survey),
            *([] if problem else _keep(keep, listing)),
            *_skipped(invocation, survey),
            f"next     {following}{advice}",
        ],
        quiet=[str(keep.directory)] if keep else [],
    )
    if problem:
        invocation.output.complain(problem.message, problem.hint)
    return code


def _open(invocation: Invocation) -> tuple[Keep | None, ModelkeepError | None]:
    """Return the keep, if there is one, or why there can be none."""
    try:
        return invocation.open_keep(), None
    except NotFoundError:
        try:
            invocation.foresee_keep()
        except ModelkeepError as error:
            return None, error
        return None, None
    except ModelkeepError as error:
        return None, error


def _survey(keep: Keep | None) -> Survey:
    from modelkeep.hub.survey import survey
    from modelkeep.runtime import caches

    roots = [root.directory for root in keep.store.roots if root.is_reachable()] if keep else []
    found = {place.path: place.found_by for place in caches.places(os.environ, roots)}
    return survey(
        found,
        keep.store if keep else None,
        besides=keep.hub.directory if keep else None,
    )


def _summary(keep: Keep, listing: Listing) -> dict[str, object]:
    return {
        "dir": keep.directory,
        "mode": keep.store.mode,
        "repos": len(listing.repos),
        "bytes": listing.store.bytes,
        "bytes_saved": listing.store.bytes_saved,
    }


def _adopt(survey: Survey, *, empty: bool) -> str | None:
    """Return the command that gives most space back; with an empty keep, so that it is used."""
    able = [cache for cache in survey.caches if _can_adopt(cache)]
    wanted = [cache for cache in able if cache.shares]
    if not any(cache.bytes_duplicate for cache in wanted):
        wanted = [cache for cache in able if cache.bytes > cache.bytes_shared][:1] if empty else []
    if not wanted:
        return None
    return " ".join(["adopt", *(quote(str(cache.dir)) for cache in wanted)])


def _can_adopt(cache: CacheSurvey) -> bool:
    """Tell whether this caller may, and whether the path will still be there tomorrow."""
    mine = os.geteuid() in (0, cache.uid)
    return mine and not cache.needs_root and not cache.dir.is_relative_to("/proc")


def _as_root(invocation: Invocation) -> str:
    return f"sudo {invocation.typed()}"


def _caches(survey: Survey) -> Iterable[str | Table]:
    if not survey.caches:
        return
    twice = sum(cache.bytes_duplicate for cache in survey.caches)
    told = f"{human.size(twice)} are duplicates" if twice else "nothing twice"
    yield f"caches   {len(survey.caches)} found, {human.size(survey.bytes)}; {told}"
    shown = survey.caches[:_SHOWN]
    rows = [
        [
            str(cache.dir),
            cache.owner,
            f"{cache.repos:,}",
            human.size(cache.bytes),
            human.size(cache.bytes_duplicate),
            human.size(cache.bytes_shared),
            "needs root" if cache.needs_root else "",
        ]
        for cache in shown
    ]
    yield Table(
        ["cache", "owner", "repos", "size", "duplicate", "shared", ""],
        rows,
        right=frozenset({"repos", "size", "duplicate", "shared"}),
        spare=["owner", "shared"],
    )
    if len(survey.caches) > _SHOWN:
        yield f"and {len(survey.caches) - _SHOWN} more: modelkeep --format json"


def _keep(keep: Keep | None, listing: Listing | None) -> Iterable[str]:
    if keep is None or listing is None:
        yield "keep     none yet; the first pull makes one, and `modelkeep init DIR` chooses where"
        return
    store = listing.store
    yield f"keep     {keep.directory} ({keep.store.mode})"
    yield f"holds    {human.counted(len(listing.repos), 'repo')}, {human.size(store.bytes)}"
    yield f"saved    {human.size(store.bytes_saved)} by sharing"


def _skipped(invocation: Invocation, survey: Survey) -> Iterable[str]:
    refused = [skip for skip in survey.skipped if skip.reason == "permission denied"]
    if refused:
        places = human.counted(len(refused), "place")
        yield f"closed   {places} you cannot look into: {_as_root(invocation)}"
    for skip in survey.skipped:
        if skip not in refused:
            yield f"skipped  {skip.path}: {skip.reason}"
