"""Finds and removes what nobody finished in a hub: our own writers, and stock clients that died.

A client's unfinished download is dead when nothing was written to it for a day and no visible
process has it open. A blob that no revision points to, and that the store has, was left by a
removal or a pull that was killed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import AccessError
from modelkeep.fs.openfiles import still_open
from modelkeep.hub.cache import HubCache
from modelkeep.hub.removal.hide import pointed
from modelkeep.hub.repo import Repo
from modelkeep.hub.scan import INCOMPLETE, ScannedRepo
from modelkeep.store.digest import Digest
from modelkeep.store.inventory import Inventory
from modelkeep.store.marks import condemned
from modelkeep.store.store import Store
from modelkeep.store.sweep import DAY_NS, Leftover, changed_ns, discard, look_into

_UNUSED = "no revision has it"
_AWAY = "its folder is a link to another place"


@dataclass(frozen=True, slots=True)
class Litter:
    """What was left in a hub.

    `blobs` are names that no revision points to, each with its repo. `empty` are snapshots without
    a file, None for a repo without snapshots. `busy` says of repos why they have to stay.
    """

    files: tuple[Leftover, ...]
    blobs: tuple[tuple[Repo, Leftover], ...]
    empty: tuple[tuple[Repo, str | None], ...]
    busy: dict[Repo, str]


def find(hub: HubCache, scans: Iterable[ScannedRepo], inventory: Inventory) -> Litter:
    """Look for litter in all repos of a hub. Links in the place of their folders are not followed.

    What is found may be young: `Leftover.is_dead` tells.
    """
    files: list[Leftover] = []
    blobs: list[tuple[Repo, Leftover]] = []
    empty: list[tuple[Repo, str | None]] = []
    busy: dict[Repo, str] = {}
    for scanned in scans:
        repo = scanned.repo
        if reason := why_busy(hub, scanned, inventory.now_ns):
            busy[repo] = reason
        if reason == _AWAY:
            continue
        downloads = _downloads(hub, scanned)
        files += [*hub.leftovers(repo, in_blobs=bool(scanned.unfinished)), *downloads]
        blobs += ((repo, each) for each in _unpointed(hub, scanned, inventory))
        empty += _empty(hub, scanned, inventory.now_ns)
    used = still_open([each.path for each in files if each.kind == "download"])
    return Litter(
        tuple(each for each in files if each.path not in used),
        tuple(blobs),
        tuple((repo, commit) for repo, commit in empty if repo not in busy),
        busy,
    )


def why_busy(hub: HubCache, scanned: ScannedRepo, now_ns: int) -> str | None:
    """Tell why nothing of a repo may go: a client may be at work in it, or it is not the keep's."""
    if hub.leads_away(scanned.repo):
        return _AWAY
    if any(not each.is_dead(now_ns) for each in _downloads(hub, scanned)):
        return "a client may be downloading it"
    return None


def is_empty(hub: HubCache, scanned: ScannedRepo, commit: str | None, now_ns: int) -> bool:
    """Tell whether a snapshot, or for None the whole repo, was begun long ago and holds nothing."""
    return any(commit == found for _, found in _empty(hub, scanned, now_ns))


def remove_file(found: Leftover) -> str | None:
    """Remove what was left of a write; return why it stays, if it does."""
    return discard(found, needed=lambda hidden: bool(still_open([hidden])))


def remove_blob(store: Store, hub: HubCache, repo: Repo, found: Leftover) -> str | None:
    """Remove a blob that no revision of a repo points to; return why it stays, if it does.

    Safe beside pulls: they hold what they are about to point to by a lease.
    """
    digest = Digest.from_etag(found.path.name)
    assert digest is not None  # the store has it
    with condemned(store.layout, digest) as mark:
        if mark is None:
            return "another collector is working on it"
        if reason := store.leases.protects(digest):
            return reason
        try:
            if digest.etag in pointed(hub, repo, hub.commits(repo)):
                return "it is used again"
        except AccessError as error:
            return error.message
        return discard(found, needed=lambda _: not mark.holds())


def _downloads(hub: HubCache, scanned: ScannedRepo) -> list[Leftover]:
    names = {name for name in scanned.unfinished if name.endswith(INCOMPLETE)}
    if not names:
        return []
    return list(
        look_into(
            hub.folder(scanned.repo) / "blobs",
            kind="download",
            lifetime_ns=DAY_NS,
            reason="a client began it and ended",
            chosen=names.__contains__,
        )
    )


def _unpointed(hub: HubCache, scanned: ScannedRepo, inventory: Inventory) -> Iterable[Leftover]:
    """Return blobs that no revision points to and that the store has."""
    noted = frozenset[str]().union(*(revision.blobs for revision in scanned.revisions))
    doubtful = {
        name
        for name in scanned.blobs.keys() - noted
        if name in inventory.blobs and Digest.from_etag(name)
    }
    if not doubtful or not scanned.revisions:
        return []
    doubtful -= pointed(hub, scanned.repo, hub.commits(scanned.repo))  # notes may be wrong
    return look_into(
        hub.folder(scanned.repo) / "blobs",
        kind="leftover",
        lifetime_ns=DAY_NS,
        reason=_UNUSED,
        chosen=doubtful.__contains__,
    )


def _empty(hub: HubCache, scanned: ScannedRepo, now_ns: int) -> Iterable[tuple[Repo, str | None]]:
    """Yield snapshots, or the whole repo, that were begun long ago and hold nothing."""
    folder = hub.folder(scanned.repo)
    if not scanned.revisions and not scanned.blobs and _is_old(folder, now_ns):
        yield scanned.repo, None
    for revision in scanned.revisions:
        nothing = not (revision.files or revision.blobs or revision.plain)
        if nothing and _is_old(hub.snapshot(scanned.repo, revision.commit), now_ns):
            yield scanned.repo, revision.commit


def _is_old(top: Path, now_ns: int) -> bool:
    changed = changed_ns(top)
    return changed is None or now_ns - changed > DAY_NS
