"""Reads what `evict` decides by: every revision, what keeps it, and where bytes come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from modelkeep.fs.folders import entries
from modelkeep.fs.space import freed_by
from modelkeep.hub import provenance, use
from modelkeep.hub.cache import HubCache
from modelkeep.hub.holds import hold_on
from modelkeep.hub.removal.evict import Candidate, Space
from modelkeep.hub.removal.litter import Litter
from modelkeep.hub.scan import ScannedRepo, ScannedRevision, is_finished
from modelkeep.store.inventory import Inventory, digest_text, referred
from modelkeep.store.roots import OWN_HUB
from modelkeep.store.store import Store


def look(
    store: Store,
    hub: HubCache,
    inventory: Inventory,
    scans: Sequence[ScannedRepo],
    left: Litter,
) -> tuple[tuple[Candidate, ...], Space]:
    """Describe every revision of a hub. Changes nothing and is safe beside anything.

    `left` goes in any case, so nothing is gained by it here.
    """
    users = use.users(scans)
    found = tuple(
        candidate
        for scanned in scans
        for candidate in _of_repo(
            store, hub, inventory, scanned, users, left.busy.get(scanned.repo)
        )
    )
    lying = {f"{repo.folder}/{each.path.name}" for repo, each in left.blobs}
    return found, _space(store, hub, inventory, scans, lying)


def _of_repo(
    store: Store,
    hub: HubCache,
    inventory: Inventory,
    scanned: ScannedRepo,
    users: Mapping[str, int],
    busy: str | None,
) -> Iterator[Candidate]:
    repo, folder = scanned.repo, scanned.repo.folder
    pointed = frozenset[str]().union(*(revision.blobs for revision in scanned.revisions))
    # What nobody points to goes with the last revision of the repo.
    rest = scanned.blobs.keys() - pointed
    named = inventory.held.named(str(repo))
    for revision in scanned.revisions:
        commit = revision.commit
        told = use.telling(revision.blobs, scanned.blobs, users)
        own = list(use.digests(name for name in told if users[name] == 1)) if named else ()
        hold = hold_on(hub, inventory.held, repo, commit, own)
        stamp = use.last_used(store, told)
        yield Candidate(
            repo=repo,
            commit=commit,
            refs=tuple(name for name, stands in scanned.refs.items() if stands == commit),
            names=frozenset(f"{folder}/{name}" for name in (*revision.blobs, *rest)),
            last_used=stamp,
            idle_since=_came(inventory, told) if stamp is None else stamp,
            telling=next(use.digests(told), None),
            kept=busy
            or (hold.reason if hold else None)
            or _irreplaceable(
                provenance.source_of(store, repo, commit, use.digests(told)), revision
            ),
        )


def _came(inventory: Inventory, told: Iterable[str]) -> float:
    """Return about when contents came here, as a POSIX time; now where that cannot be told."""
    for name in told:
        if blob := inventory.blobs.get(name):
            return blob.changed_ns / 1e9
    return inventory.now_ns / 1e9


def _irreplaceable(source: str | None, revision: ScannedRevision) -> str | None:
    """Tell why a revision could not be fetched again as it is."""
    if source == provenance.LOCAL:
        return "it was added here and cannot be fetched again"
    if source is None:
        return "no upstream is known to fetch it from again"
    if revision.plain:
        return "files that no client puts there stand in it"
    return None


def _space(
    store: Store,
    hub: HubCache,
    inventory: Inventory,
    scans: Iterable[ScannedRepo],
    lying: Container[str],
) -> Space:
    own: dict[str, int] = {}
    links: Counter[str] = Counter()
    for scanned in scans:
        folder = scanned.repo.folder
        for entry in entries(f"{hub.directory}/{folder}/blobs"):
            if not is_finished(entry.name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            stored = inventory.blobs.get(entry.name)
            if stored is not None and stored.inode == status.st_ino:
                links[entry.name] += 1
            elif (name := f"{folder}/{entry.name}") not in lying:
                own[name] = freed_by(status)
    linked = {name for name, blob in inventory.blobs.items() if blob.links - 1 > links[name]}
    others = {digest_text(name): name for name in inventory.blobs if name not in linked}
    alive, unread = referred(store, others, besides=OWN_HUB)
    return Space(
        own=own,
        stored={name: blob.bytes for name, blob in inventory.blobs.items()},
        elsewhere=frozenset(
            inventory.blobs if unread else linked | {others[text] for text in alive}
        ),
    )
