"""Gets a revision from upstream into the keep: nothing twice, nothing unverified, nothing halfway.

What a stock client already brought is settled; what the store has is linked; the rest is fetched
into the store's own temporary folder, hashed there, and named. Only then does the revision appear
in the hub cache: blobs, snapshot, tree, refs, in this order.
"""

from __future__ import annotations

import time
from contextlib import suppress

from modelkeep.errors import (
    BusyError,
    NoSpaceError,
    NotFoundError,
    OfflineError,
    UpstreamError,
    UsageError,
)
from modelkeep.hub import provenance, upstream
from modelkeep.hub.acquire import Acquirer
from modelkeep.hub.cache import HubCache
from modelkeep.hub.holds import in_hand
from modelkeep.hub.materialise import OWN_HUB_RUNGS, Materialiser, Placement
from modelkeep.hub.progress import Progress
from modelkeep.hub.pulled import Pulled
from modelkeep.hub.removal.budget import Budget
from modelkeep.hub.repo import is_commit
from modelkeep.hub.request import Request
from modelkeep.hub.settle import settle
from modelkeep.hub.tree import TreeFile
from modelkeep.hub.upstream import Upstream
from modelkeep.store.store import Store
from modelkeep.store.sweep import sweep

# A blob may be taken away between being found and being linked; each round fetches what was.
_ROUNDS = 5


def pull(
    store: Store,
    hub: HubCache,
    origin: Upstream,
    request: Request,
    progress: Progress,
    *,
    budget: Budget | None = None,
) -> Pulled:
    """Make a revision complete in the keep and in its hub cache; with a budget, within it.

    Any number of processes may pull the same thing at once: one fetches, the others wait for it.
    Interrupted at any step, a later pull goes on where this one stopped.
    """
    started = time.monotonic()
    sweep(store.layout)
    repo = request.repo
    try:
        commit, tree = _contents(hub, origin, request)
    except UpstreamError as error:
        commit, tree = _without_upstream(hub, request, error)
        progress.note("offline: what the keep has of it is complete")
    _refuse_to_move_local_refs(store, hub, request, commit)
    files = upstream.select(tree, request.include, request.exclude)
    if not files:
        raise NotFoundError(
            f"no file of `{repo}` matches",
            hint=f"it has {len(tree)}, such as `{tree[0].path}`" if tree else None,
        )
    acquirer = Acquirer(store, origin, request, commit, progress, budget)
    lacking = [file for file in files if not store.has(file.digest)]
    with suppress(NoSpaceError):  # what is here loads all the same, and what is not says so below
        settle(store, hub, [repo], endpoint=origin.endpoint, progress=progress)
    brought = [file for file in lacking if store.has(file.digest)]
    acquirer.tally.stored |= {file.digest: file.size for file in brought}
    materialiser = Materialiser(
        store, hub, store.roots.own_hub(), OWN_HUB_RUNGS, note=progress.note
    )
    refs = () if is_commit(request.revision) else (request.revision,)
    digests = {file.digest for file in files}
    with in_hand(store, repo, commit, digests, reason="modelkeep pull"):
        for _ in range(_ROUNDS):
            placement = Placement()
            try:
                acquirer.acquire(files)
                if not materialiser.place_blobs(repo, files, placement):
                    snapshot = materialiser.finish(repo, commit, files, tree=tree, refs=refs)
                    break
            except FileNotFoundError:
                continue  # a removal was at work on the same things: begin again
        else:
            raise BusyError(
                f"`{repo}` is being removed from the keep as fast as it arrives",
                hint="wait for the other modelkeep command to end",
            )
    tally = acquirer.tally
    return Pulled.of(
        repo,
        commit,
        snapshot,
        files,
        placement,
        started=started,
        stored=sum(tally.stored.values()),
        fetched=sum(tally.fetched.values()),
        resumed=tally.resumed,
    )


def _contents(
    hub: HubCache, origin: Upstream, request: Request
) -> tuple[str, tuple[TreeFile, ...]]:
    """Return the commit and what it holds; upstream is asked only what the cache cannot know."""
    repo, revision = request.repo, request.revision
    if is_commit(revision) and (noted := hub.tree(repo, revision)):
        return revision, noted
    commit = origin.commit(repo, revision)
    return commit, hub.tree(repo, commit) or origin.tree(repo, commit)


def _without_upstream(
    hub: HubCache, request: Request, error: UpstreamError
) -> tuple[str, tuple[TreeFile, ...]]:
    """Return what the cache has of a request, if it has it all and offline mode was asked for.

    Else raises the error, which then says if what was asked for is here all the same.
    """
    repo, revision = request.repo, request.revision
    commit = hub.resolve(repo, revision)
    tree = hub.tree(repo, commit) if commit else None
    if commit is None or tree is None:
        raise error
    lacking = {file.path for file in hub.missing(repo, commit) or ()}
    wanted = upstream.select(tree, request.include, request.exclude)
    if any(file.path in lacking for file in wanted):
        raise error
    if not isinstance(error, OfflineError):
        if wanted:
            error.hint = f"the keep has it complete at {commit[:12]}; it loads"
        raise error
    return commit, tree


def _refuse_to_move_local_refs(store: Store, hub: HubCache, request: Request, commit: str) -> None:
    current = hub.refs(request.repo).get(request.revision)
    if request.force or current in (None, commit):
        return
    assert current is not None
    digests = [file.digest for file in hub.tree(request.repo, current) or ()]
    if provenance.source_of(store, request.repo, current, digests) == provenance.LOCAL:
        raise UsageError(
            f"`{request.repo}@{request.revision}` was added from a local folder"
            f" and stays at {current[:12]}",
            hint=f"--force replaces it; {request.repo}@{commit} gets upstream's beside it",
        )
