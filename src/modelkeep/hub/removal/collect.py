"""A whole collection: garbage, and where it is wished for revisions, in one plan; then its work.

What is planned is looked at again when it goes, so a plan may be as old as it likes. Revisions go
as they do with `rm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from modelkeep.errors import AccessError, NotFoundError
from modelkeep.fs.clock import now_ns
from modelkeep.hub.cache import HubCache
from modelkeep.hub.progress import Progress
from modelkeep.hub.removal import candidates, litter, remove
from modelkeep.hub.removal.evict import Evicted, Eviction, Wish, choose
from modelkeep.hub.removal.litter import Litter
from modelkeep.hub.removal.remove import Removal, RemovalPlan, RemovedItem
from modelkeep.hub.repo import Repo
from modelkeep.hub.scan import ScannedRepo, scan, scan_all
from modelkeep.store import ballast, garbage, inventory
from modelkeep.store.garbage import Garbage, Kept
from modelkeep.store.inventory import Unused
from modelkeep.store.leases import Lease
from modelkeep.store.store import Store
from modelkeep.store.sweep import Leftover
from modelkeep.times import utc_text

# Revisions that go together: enough to read the references rarely, few enough to tell how it goes.
_LOT = 256

_UNSEEN = "loaders started without `modelkeep exec` record no use: what only they use looks unused"

_Chosen = tuple[Repo, str | None]


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What a collection would do. Made without changing anything.

    `bytes_used` is what the keep takes now. Of that `bytes_planned` come back at once, and
    `bytes_pending` when others let go; `bytes_short` is what a goal asks for beyond. `notes` are
    for a person to know before agreeing.
    """

    remove: tuple[RemovedItem, ...]
    kept: tuple[Kept, ...]
    bytes_used: int
    bytes_planned: int
    bytes_pending: int
    bytes_short: int
    notes: tuple[str, ...]
    made_at: float
    garbage: Garbage
    litter: Litter
    evicted: tuple[Evicted, ...]


def plan(
    store: Store,
    hub: HubCache,
    wish: Wish,
    *,
    grace_s: float | None = None,
    notes: Iterable[str] = (),
) -> CollectionPlan:
    """Decide what goes. `grace_s` replaces how long what nobody uses is left in peace."""
    stock = inventory.take(store)
    if grace_s is not None:
        stock = replace(stock, grace_ns=int(grace_s * 1e9))
    scans, refused = scan_all(hub)
    closed = [Kept(str(repo), error.message) for repo, error in refused.items()]
    waste = garbage.plan(stock)
    left = _dead(litter.find(hub, scans, stock), stock.now_ns)
    lying = sum(each.bytes for each in left.files) + sum(each.bytes for _, each in left.blobs)
    chosen = Eviction((), (), 0)
    used = sum(blob.bytes for blob in stock.blobs.values())
    used += sum(each.bytes for each in stock.leftovers) + lying
    if wish.evicts:
        found, space = candidates.look(store, hub, stock, scans, left)
        used += sum(space.own.values())
        chosen = choose(
            found,
            space,
            wish,
            now=stock.now_ns / 1e9,
            used=used,
            garbage=waste.bytes + lying,
        )
    return CollectionPlan(
        remove=(
            *map(_leftover_item, (*waste.leftovers, *left.files)),
            *(_leftover_item(each) for _, each in left.blobs),
            *(_empty_item(repo, commit) for repo, commit in left.empty),
            *map(_lease_item, waste.leases),
            *map(_blob_item, waste.blobs),
            *map(_revision_item, chosen.evicted),
        ),
        kept=(*closed, *waste.kept, *chosen.kept),
        bytes_used=used,
        bytes_planned=waste.bytes + lying + sum(each.bytes for each in chosen.evicted),
        bytes_pending=sum(each.bytes_later for each in chosen.evicted),
        bytes_short=chosen.short_of,
        notes=(*notes, *([_UNSEEN] if wish.goes_by_use and chosen.evicted else ())),
        made_at=stock.now_ns / 1e9,
        garbage=waste,
        litter=left,
        evicted=chosen.evicted,
    )


def preview(plan: CollectionPlan) -> Removal:
    """Return what `execute` would do, as far as can be told without doing it."""
    return Removal(plan.remove, plan.kept, plan.bytes_planned, 0, plan.bytes_pending, dry_run=True)


def execute(
    store: Store, hub: HubCache, plan: CollectionPlan, progress: Progress | None = None
) -> Removal:
    """Carry a plan out; what is in use, or was used, since it was made stays and is told.

    Leftovers go first, since that needs no room on the disk, then what nobody uses, then revisions.
    A crash leaves less to collect.
    """
    progress = progress or Progress()
    progress.started(0, plan.bytes_planned)
    kept: list[Kept] = []
    freed = 0
    with ballast.dropped_where_full(store.layout):
        for leftover in plan.litter.files:
            freed += _discarded(leftover, partial(litter.remove_file, leftover), kept, progress)
        collected = garbage.execute(store, plan.garbage, progress=progress.advanced)
        for repo, leftover in plan.litter.blobs:
            discard = partial(litter.remove_blob, store, hub, repo, leftover)
            freed += _discarded(leftover, discard, kept, progress)
        removals = list(_remove_revisions(store, hub, plan, kept, progress))
    staying = (*collected.kept, *kept, *(item for each in removals for item in each.kept))
    names = {item.name for item in staying}
    return Removal(
        remove=tuple(item for item in plan.remove if item.name not in names),
        kept=(*plan.kept, *staying),
        bytes_planned=plan.bytes_planned,
        bytes_freed=freed + collected.bytes_freed + sum(each.bytes_freed for each in removals),
        bytes_pending=sum(each.bytes_pending for each in removals),
        dry_run=False,
    )


def _remove_revisions(
    store: Store, hub: HubCache, plan: CollectionPlan, kept: list[Kept], progress: Progress
) -> Iterator[Removal]:
    """Remove what was chosen in lots: each lot reads the references once, and then tells.

    What is in use by now goes to `kept`.
    """
    going: list[_Chosen] = list(plan.litter.empty)
    sizes: dict[_Chosen, int] = {}
    for evicted in plan.evicted:
        candidate = evicted.candidate
        last = store.last_used(candidate.telling) if candidate.telling else None
        if last is not None and last > plan.made_at:
            kept.append(Kept(candidate.name, "it was used just now"))
        else:
            going.append((candidate.repo, candidate.commit))
            sizes[going[-1]] = evicted.bytes
    for start in range(0, len(going), _LOT):
        lot = going[start : start + _LOT]
        used = _in_use(store, hub, lot, plan.litter)
        kept += [Kept(_name(*each), why) for each, why in used.items()]
        chosen = _planned(store, hub, [each for each in lot if each not in used])
        yield remove.execute(store, hub, chosen, past_refusals=True)
        for each in lot:
            progress.advanced(sizes.get(each, 0))


def _in_use(
    store: Store, hub: HubCache, chosen: Iterable[_Chosen], planned: Litter
) -> dict[_Chosen, str]:
    """Return those that a client has begun to use since the plan was made, and why they stay."""
    now = now_ns(store.layout.tmp)
    scans: dict[Repo, ScannedRepo] = {}
    used: dict[_Chosen, str] = {}
    for repo, commit in (each for each in chosen if _is_there(hub, *each)):
        try:
            if repo not in scans:
                scans[repo] = scan(hub, repo)
        except AccessError as error:
            used[repo, commit] = error.message
            continue
        scanned = scans[repo]
        if reason := litter.why_busy(hub, scanned, now):
            used[repo, commit] = reason
        elif (repo, commit) in planned.empty and not litter.is_empty(hub, scanned, commit, now):
            used[repo, commit] = "it is used again"
    return used


def _planned(store: Store, hub: HubCache, chosen: Iterable[_Chosen]) -> RemovalPlan:
    """Plan the removal of those that are still there."""
    while True:
        there = [each for each in chosen if _is_there(hub, *each)]
        try:
            return remove.plan(store, hub, there)
        except NotFoundError:
            continue  # another removal was quicker


def _is_there(hub: HubCache, repo: Repo, commit: str | None) -> bool:
    return (hub.snapshot(repo, commit) if commit else hub.folder(repo)).is_dir()


def _name(repo: Repo, commit: str | None) -> str:
    return f"{repo}@{commit}" if commit else str(repo)


def _dead(found: Litter, now_ns: int) -> Litter:
    return replace(
        found,
        files=tuple(each for each in found.files if each.is_dead(now_ns)),
        blobs=tuple((repo, each) for repo, each in found.blobs if each.is_dead(now_ns)),
    )


def _discarded(
    leftover: Leftover, discard: Callable[[], str | None], kept: list[Kept], progress: Progress
) -> int:
    """Discard a leftover, or note why it stays; return the bytes that came back."""
    try:
        reason = discard()
    except AccessError as error:
        reason = error.message
    progress.advanced(leftover.bytes)
    if reason is None:
        return leftover.bytes
    kept.append(Kept(str(leftover.path), reason))
    return 0


def _leftover_item(found: Leftover) -> RemovedItem:
    changed = utc_text(found.changed_ns / 1e9)
    return RemovedItem(found.kind, str(found.path), found.bytes, found.reason, changed)


def _empty_item(repo: Repo, commit: str | None) -> RemovedItem:
    return RemovedItem(
        "snapshot", _name(repo, commit), 0, "begun more than a day ago, and empty", None
    )


def _lease_item(lease: Lease) -> RemovedItem:
    return RemovedItem("lease", lease.id, 0, f"it has ended: {lease}", lease.created_at)


def _blob_item(blob: Unused) -> RemovedItem:
    used = None if blob.last_used is None else utc_text(blob.last_used)
    came = f"nothing uses it; it came with {', '.join(blob.origin)}"
    return RemovedItem("blob", str(blob.digest), blob.bytes, came, used)


def _revision_item(evicted: Evicted) -> RemovedItem:
    used = evicted.candidate.last_used
    last = None if used is None else utc_text(used)
    return RemovedItem("revision", evicted.candidate.name, evicted.bytes, evicted.reason, last)
