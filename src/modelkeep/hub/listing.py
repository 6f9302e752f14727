"""What a keep holds: every repo with its revisions, sizes, last use and origin.

Reads names, sizes and small side files; never the bytes of a model. Sizes are bytes of content.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from modelkeep.hub import provenance
from modelkeep.hub.cache import HubCache
from modelkeep.hub.materialise import COPY_BELOW
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store
from modelkeep.times import utc_text


@dataclass(frozen=True, slots=True)
class Revision:
    """A snapshot. `complete` is None where nobody noted what the commit should hold."""

    commit: str
    files: int
    bytes: int
    complete: bool | None


@dataclass(frozen=True, slots=True)
class ListedRepo:
    """A repo of the keep.

    `bytes_total` counts each content once, `bytes_unique` what no other repo uses, and
    `bytes_unsettled` what a stock client brought and nobody has hashed yet. `last_used` is when all
    of a revision was last used through modelkeep. `source` is the endpoint, `local`, or None.
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
    source: str | None


@dataclass(frozen=True, slots=True)
class StoreTotals:
    """The store as a whole. `bytes_saved` is what the same files would take more as copies."""

    blobs: int
    bytes: int
    bytes_saved: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything a keep holds, repos in the order of their names."""

    repos: tuple[ListedRepo, ...]
    store: StoreTotals


@dataclass(frozen=True, slots=True)
class _Scan:
    """One repo as it lies on the disk: sizes of its blobs by name, and names by revision."""

    repo: Repo
    blobs: dict[str, int]
    revisions: dict[str, dict[str, str | None]]


def listing(store: Store, hub: HubCache, repos: Iterable[Repo] | None = None) -> Listing:
    """List the keep, or some of its repos. Safe beside anything; a moving repo may be half seen."""
    scans = [_scan(hub, repo) for repo in hub.repos()]
    users = Counter(name for scan in scans for name in scan.blobs)
    settled = store.roots.own_hub().paths()
    wanted = None if repos is None else set(repos)
    listed = [
        _listed(store, hub, scan, users, settled)
        for scan in scans
        if scan.revisions and (wanted is None or scan.repo in wanted)
    ]
    return Listing(tuple(listed), _totals(store, users))


def _scan(hub: HubCache, repo: Repo) -> _Scan:
    folder = os.fspath(hub.folder(repo))
    blobs = {}
    for entry in _entries(f"{folder}/blobs"):
        if not entry.name.endswith(".incomplete") and not entry.name.startswith("."):
            try:
                blobs[entry.name] = entry.stat().st_size
            except OSError:
                continue  # a link whose payload is gone: what needs it is incomplete
    revisions = {
        commit: dict(_pointers(f"{folder}/snapshots/{commit}", "")) for commit in hub.commits(repo)
    }
    return _Scan(repo, blobs, revisions)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _pointers(top: str, prefix: str) -> Iterable[tuple[str, str | None]]:
    """Yield each file of a snapshot with the name of its blob; None for a file that is no link."""
    for entry in _entries(f"{top}/{prefix}"):
        path = prefix + entry.name
        if entry.is_symlink():
            yield path, os.path.basename(os.readlink(entry.path))
        elif entry.is_dir():
            yield from _pointers(top, f"{path}/")
        else:
            yield path, None


def _listed(
    store: Store, hub: HubCache, scan: _Scan, users: Counter[str], settled: frozenset[str]
) -> ListedRepo:
    repo = scan.repo
    revisions = []
    last_used = []
    source = None
    for commit, pointers in scan.revisions.items():
        tree = hub.tree(repo, commit)
        present = {
            path: _size(hub, repo, commit, path) if blob is None else scan.blobs.get(blob)
            for path, blob in pointers.items()
        }
        sizes = [size for size in present.values() if size is not None]
        complete = (
            None if tree is None else all(present.get(file.path) is not None for file in tree)
        )
        revisions.append(Revision(commit, len(sizes), sum(sizes), complete))
        last_used.append(_last_used(store, pointers.values()))
        source = source or provenance.source_of(store, repo, commit, tree or ())
    plain = sum(
        _size(hub, repo, commit, path) or 0
        for commit, pointers in scan.revisions.items()
        for path, blob in pointers.items()
        if blob is None
    )
    stamps = [stamp for stamp in last_used if stamp is not None]
    return ListedRepo(
        repo=repo.id,
        type=repo.type.value,
        refs=hub.refs(repo),
        revisions=tuple(revisions),
        bytes_total=sum(scan.blobs.values()) + plain,
        bytes_unique=sum(size for name, size in scan.blobs.items() if users[name] == 1) + plain,
        bytes_unsettled=plain
        + sum(
            size
            for name, size in scan.blobs.items()
            if f"{repo.folder}/blobs/{name}" not in settled
        ),
        last_used=utc_text(max(stamps)) if stamps else None,
        pinned=False,
        source=source,
    )


def _size(hub: HubCache, repo: Repo, commit: str, path: str) -> int | None:
    try:
        return (hub.snapshot(repo, commit) / path).stat().st_size
    except OSError:
        return None


def _last_used(store: Store, blobs: Iterable[str | None]) -> float | None:
    """Return when all of a revision was last used: the oldest stamp, since blobs are shared."""
    stamps = []
    for name in blobs:
        digest = Digest.from_etag(name) if name else None
        if digest is not None and (stamp := store.last_used(digest)) is not None:
            stamps.append(stamp)
    return min(stamps, default=None)


def _totals(store: Store, users: Counter[str]) -> StoreTotals:
    count = total = saved = 0
    for digest, status in store.blobs():
        count += 1
        total += status.st_size
        if status.st_size < COPY_BELOW:
            continue  # these are copies indeed
        # Each link besides the store's own is a user's file; a hub that links another way is
        # known by name. One user's copy would be there in any case.
        using = max(status.st_nlink - 1, users[digest.etag])
        saved += status.st_size * max(0, using - 1)
    return StoreTotals(count, total, saved)
