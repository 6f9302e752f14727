"""Gets a revision from upstream into the keep: nothing twice, nothing unverified, nothing halfway.

What the store has is linked; what a stock client already brought is hashed and taken over; the rest
is fetched into the store's own temporary folder, hashed there, and named. Only then does the
revision appear in the hub cache: blobs, snapshot, tree, refs, in this order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep._version import __version__
from modelkeep.errors import BusyError, NotFoundError, UsageError
from modelkeep.fs.space import require_free
from modelkeep.fs.syncpoint import reach
from modelkeep.hub import provenance, upstream
from modelkeep.hub.cache import HubCache
from modelkeep.hub.fetch import Fetcher, Wanted
from modelkeep.hub.materialise import OWN_HUB_RUNGS, Materialiser, Placement
from modelkeep.hub.progress import Progress
from modelkeep.hub.repo import DEFAULT_REVISION, Repo, is_commit
from modelkeep.hub.tree import TreeFile
from modelkeep.hub.upstream import Upstream
from modelkeep.store.digest import Digest
from modelkeep.store.meta import Source
from modelkeep.store.store import Store
from modelkeep.store.sweep import sweep

# A blob may be taken away between being found and being linked; each round fetches what was.
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Request:
    """What to get: a repo, a revision, and which of its files.

    `force` lets a branch that was made by `add` follow upstream again. `limit_rate` is in bytes a
    second, for all connections together.
    """

    repo: Repo
    revision: str = DEFAULT_REVISION
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    force: bool = False
    limit_rate: int | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull or an add did. Sizes are bytes of files, times seconds.

    `bytes_fetched` is what had to be fetched, `bytes_stored` what is new in the store,
    `bytes_linked` what was there already. `modes` counts how the files were put into the hub.
    """

    repo: str
    type: str
    commit: str
    snapshot: Path
    files: int
    bytes_total: int
    bytes_fetched: int
    bytes_stored: int
    bytes_linked: int
    modes: dict[str, int]
    seconds: float


@dataclass(slots=True)
class _Tally:
    """Bytes of each content by how it came."""

    fetched: dict[Digest, int] = field(default_factory=dict)
    stored: dict[Digest, int] = field(default_factory=dict)


def pull(
    store: Store,
    hub: HubCache,
    origin: Upstream,
    request: Request,
    progress: Progress,
) -> Pulled:
    """Make a revision complete in the keep and in its hub cache.

    Any number of processes may pull the same thing at once: one fetches, the others wait for it.
    Interrupted at any step, a later pull goes on where this one stopped.
    """
    started = time.monotonic()
    sweep(store.layout)
    repo = request.repo
    commit, tree = _contents(hub, origin, request)
    _refuse_to_move_local_refs(store, hub, request, commit)
    files = upstream.select(tree, request.include, request.exclude)
    if not files:
        raise NotFoundError(
            f"no file of `{repo}` matches", hint=f"it has {len(tree)} files: modelkeep show {repo}"
        )
    tally = _Tally()
    materialiser = Materialiser(store, hub, store.roots.own_hub(), OWN_HUB_RUNGS)
    refs = () if is_commit(request.revision) else (request.revision,)
    for _ in range(_ROUNDS):
        placement = Placement()
        try:
            _acquire(store, hub, origin, request, commit, files, progress, tally)
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
    sizes = {file.digest: file.size for file in files}
    return Pulled(
        repo=repo.id,
        type=repo.type.value,
        commit=commit,
        snapshot=snapshot,
        files=len(files),
        bytes_total=sum(file.size for file in files),
        bytes_fetched=sum(tally.fetched.values()),
        bytes_stored=sum(tally.stored.values()),
        bytes_linked=sum(sizes.values()) - sum(tally.stored.values()),
        modes={mode.value: count for mode, count in sorted(placement.modes.items())},
        seconds=time.monotonic() - started,
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


def _acquire(
    store: Store,
    hub: HubCache,
    origin: Upstream,
    request: Request,
    commit: str,
    files: Sequence[TreeFile],
    progress: Progress,
    tally: _Tally,
) -> None:
    """See that the store has the content of all files, fetching what it lacks."""
    repo = request.repo
    by_digest = {file.digest: file for file in files}

    def source(file: TreeFile) -> Source:
        return Source(str(repo), commit, file.path, origin.endpoint)

    missing = []
    for digest, file in by_digest.items():
        if store.has(digest):
            store.describe(digest, source(file))
        elif store.take_over(hub.directory / hub.blob_name(repo, digest), digest, source(file)):
            tally.stored[digest] = file.size
        else:
            missing.append(file)
    if not missing:
        return
    require_free(store.layout.tmp, sum(file.size for file in missing), doing=f"pulling `{repo}`")
    reach("pull:planned")

    def deliver(wanted: Wanted, path: Path) -> None:
        file = by_digest[wanted.digest]
        tally.fetched[wanted.digest] = file.size
        if store.publish(
            path, wanted.digest, source=source(file), xet_hash=file.xet_hash, verified=True
        ):
            tally.stored[wanted.digest] = file.size
        reach("pull:published")

    fetcher = Fetcher(
        endpoint=origin.endpoint,
        token=origin.token,
        partials=store.layout.partials,
        locks=store.layout.locks,
        flock=store.capabilities.flock,
        limit_rate=request.limit_rate,
        user_agent=f"modelkeep/{__version__}",
        progress=progress,
    )
    fetcher.fetch(
        [
            Wanted(origin.url(repo, commit, file.path), file.digest, file.size, file.path)
            for file in missing
        ],
        have=store.has,
        deliver=deliver,
    )
    # What arrived through another process has that process's source; add ours.
    for file in missing:
        if file.digest not in tally.fetched:
            store.describe(file.digest, source(file))
