"""What a keep holds: every repo with its revisions, sizes, last use and origin.

Reads names, sizes and small side files; never the bytes of a model. Sizes are bytes of content.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from modelkeep.fs.links import COPY_BELOW
from modelkeep.hub import closed, held, provenance, use
from modelkeep.hub.cache import HubCache
from modelkeep.hub.closed import ClosedRepo
from modelkeep.hub.repo import DEFAULT_REVISION, Repo
from modelkeep.hub.scan import ScannedRepo, ScannedRevision, scan_all
from modelkeep.hub.unsettled import in_blobs
from modelkeep.store.leases import Held, Kind
from modelkeep.store.store import Store
from modelkeep.times import utc_text


@dataclass(frozen=True, slots=True)
class Revision:
    """A snapshot. `complete` is None where nobody noted what the commit should hold.

    `damaged` counts files known to be bad, which make a revision incomplete; None where nobody
    looked, as in a listing of everything.
    """

    commit: str
    files: int
    bytes: int
    complete: bool | None
    damaged: int | None = None


@dataclass(frozen=True, slots=True)
class ListedRepo:
    """A repo of the keep.

    `bytes_total` counts each content once, `bytes_unique` what no other repo uses, and
    `bytes_unsettled` what a stock client brought and nobody has hashed yet. `last_used` is when a
    revision was last used through modelkeep. `pinned`: somebody wants it, or a revision of it, to
    stay. `leased`: something runs that uses it, or a lease that cannot be read may speak of it.
    `source` is where what `main` stands for came from, or any revision where there is no such: the
    endpoint, `local`, or None.
    """

    repo: str
    type: str
    refs: dict[str, str]
    revisions: tuple[Revision, ...]
    bytes_total: int
    bytes_unique: int
    bytes_unsettled: int
    last_used: str | None
    pinned: bool
    leased: bool
    source: str | None


@dataclass(frozen=True, slots=True)
class StoreTotals:
    """The store as a whole. `bytes_saved` is what the same files would take more as copies."""

    blobs: int
    bytes: int
    bytes_saved: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything a keep holds, repos in the order of their names.

    `closed` are repos that do not let this caller in; nothing is known of them.
    """

    repos: tuple[ListedRepo, ...]
    store: StoreTotals
    closed: tuple[ClosedRepo, ...]


def listing(store: Store, hub: HubCache, repos: Iterable[Repo] | None = None) -> Listing:
    """List the keep, or some of its repos. Safe beside anything; a moving repo may be half seen.

    Of some repos it is also told which files are known to be damaged.
    """
    wanted = None if repos is None else set(repos)
    scans, refused = scan_all(hub)
    unseen = [
        closed.describe(hub, repo, error)
        for repo, error in refused.items()
        if wanted is None or repo in wanted
    ]
    users = Counter(name for scanned in scans for name in scanned.blobs)
    revisions = use.users(scans)
    referenced = store.roots.own_hub().paths()
    leases = store.leases.look()
    stored = list(store.entries())
    inodes = {entry.name: entry.inode() for entry in stored}
    listed = [
        _listed(
            store,
            scanned,
            users,
            revisions,
            leases,
            brought=_brought(store, hub, scanned, referenced, inodes),
            look=hub if wanted else None,
        )
        for scanned in scans
        if scanned.revisions and (wanted is None or scanned.repo in wanted)
    ]
    sizes = {name: size for scanned in scans for name, size in scanned.blobs.items()}
    return Listing(tuple(listed), _totals(stored, users, sizes), tuple(unseen))


def _listed(
    store: Store,
    found: ScannedRepo,
    users: Counter[str],
    revisions: Counter[str],
    leases: Held,
    *,
    brought: int,
    look: HubCache | None,
) -> ListedRepo:
    repo, blobs = found.repo, found.blobs
    own = frozenset(name for name in blobs if users[name] == 1)
    plain = sum(revision.plain for revision in found.revisions)
    stamps = []
    sources = {}
    for revision in found.revisions:
        told = use.telling(revision.blobs, blobs, revisions)
        stamps.append(use.last_used(store, told))
        sources[revision.commit] = provenance.source_of(
            store, repo, revision.commit, use.digests(told)
        )
    current = found.refs.get(DEFAULT_REVISION)
    holds = {lease.kind for lease in leases.named(str(repo))}
    known = sources.values() if current not in sources else [sources[current]]
    return ListedRepo(
        repo=repo.id,
        type=repo.type.value,
        refs=found.refs,
        revisions=tuple(_revision(store, repo, revision, look) for revision in found.revisions),
        bytes_total=sum(blobs.values()) + plain,
        bytes_unique=sum(map(blobs.__getitem__, own)) + plain,
        bytes_unsettled=plain + brought,
        last_used=utc_text(last) if (last := max(filter(None, stamps), default=None)) else None,
        pinned=Kind.PIN in holds,
        leased=Kind.LEASE in holds or bool(leases.unreadable),
        source=next(filter(None, known), None),
    )


def _brought(
    store: Store,
    hub: HubCache,
    scanned: ScannedRepo,
    referenced: frozenset[str],
    inodes: dict[str, int],
) -> int:
    """Return the bytes of unsettled blobs. What shares the store's inode is not looked at."""
    prefix = f"{scanned.repo.folder}/blobs/"
    for name, inode in scanned.inodes.items():
        if inodes.get(name) != inode or prefix + name not in referenced:
            return sum(file.size for file in in_blobs(store, hub, scanned.repo, referenced))
    return 0


def _revision(store: Store, repo: Repo, found: ScannedRevision, look: HubCache | None) -> Revision:
    damaged = None
    complete = found.complete
    if look is not None and complete is not None:
        damaged = len(held.damaged(store.layout, look, repo, found.commit))
        complete = complete and not damaged
    return Revision(found.commit, found.files, found.bytes, complete, damaged)


def _totals(
    stored: Iterable[os.DirEntry[str]], users: Counter[str], sizes: dict[str, int]
) -> StoreTotals:
    """Add the store up. Content that the hub names is as large as the hub says it is."""
    count = total = saved = 0
    for entry in stored:
        size = sizes.get(entry.name)
        status = None
        if size is None or size >= COPY_BELOW:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # a collector was quicker
            size = status.st_size
        count += 1
        total += size
        if status is None or size < COPY_BELOW:
            continue  # these are copies indeed
        # Each link besides the store's own is a user's file; a hub that links another way is
        # known by name. One user's copy would be there in any case.
        using = max(status.st_nlink - 1, users[entry.name])
        saved += size * max(0, using - 1)
    return StoreTotals(count, total, saved)
