"""Takes repos and revisions out of the keep: a plan that can be shown, then its execution.

What one revision alone uses goes at once; what others use, here or in another registered cache,
stays, and the plan says so.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import NotFoundError
from modelkeep.fs import durable
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import allocated_bytes
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo
from modelkeep.store.condemned import release
from modelkeep.store.digest import Digest
from modelkeep.store.roots import ReferenceIndex
from modelkeep.store.store import Store
from modelkeep.times import utc_text


@dataclass(frozen=True, slots=True)
class RemovedItem:
    """A revision to remove; `bytes` is what the disk gets back for what only it uses."""

    kind: str
    name: str
    bytes: int
    reason: str
    last_used: str | None


@dataclass(frozen=True, slots=True)
class KeptItem:
    """Something that stays, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What a removal would do. Made without changing anything."""

    repo: Repo
    commits: tuple[str, ...]
    refs: tuple[str, ...]
    whole_repo: bool
    blobs: tuple[str, ...]
    remove: tuple[RemovedItem, ...]
    bytes_planned: int


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal did, or with `dry_run` would do.

    `bytes_freed` came back to the file system; `bytes_pending` will when other users let go.
    """

    remove: tuple[RemovedItem, ...]
    kept: tuple[KeptItem, ...]
    bytes_planned: int
    bytes_freed: int
    bytes_pending: int
    dry_run: bool


def plan(store: Store, hub: HubCache, repo: Repo, revision: str | None) -> RemovalPlan:
    """Decide what removing a repo, or one revision of it, takes away.

    Removing a branch removes its commit with every ref to it. NotFoundError where the keep has no
    such repo or revision.
    """
    folder = hub.folder(repo)
    if not folder.is_dir():
        raise NotFoundError(f"`{repo}` is not in the keep", hint="see what is: modelkeep ls")
    commits = hub.commits(repo)
    if revision is None:
        chosen = commits
    else:
        commit = hub.resolve(repo, revision)
        if commit is None:
            raise NotFoundError(
                f"`{repo}` has no revision `{revision}` in the keep",
                hint=f"see its revisions: modelkeep show {repo}",
            )
        chosen = [commit]
    kept = [commit for commit in commits if commit not in chosen]
    whole = revision is None or not kept
    staying = _pointed(hub, repo, kept)
    going = {commit: _pointed(hub, repo, [commit]) - staying for commit in chosen}
    names = _all_blobs(store, hub, repo) if whole else frozenset[str]().union(*going.values())
    freeable = _freeable(store, folder, names)
    items = tuple(
        RemovedItem(
            kind="revision",
            name=f"{repo}@{commit}",
            bytes=sum(freeable.get(name, 0) for name in blobs),
            reason="chosen by name",
            last_used=_last_used(store, blobs),
        )
        for commit, blobs in going.items()
    )
    return RemovalPlan(
        repo=repo,
        commits=tuple(chosen),
        refs=tuple(name for name, commit in hub.refs(repo).items() if whole or commit in chosen),
        whole_repo=whole,
        blobs=tuple(sorted(names)),
        remove=items,
        bytes_planned=sum(freeable.values()),
    )


def preview(plan: RemovalPlan) -> Removal:
    """Return what `execute` would do, as far as can be told without doing it."""
    return Removal(plan.remove, (), plan.bytes_planned, 0, 0, dry_run=True)


def execute(store: Store, hub: HubCache, plan: RemovalPlan) -> Removal:
    """Carry a plan out: refs and snapshots first, then each blob, here and in the store.

    A crash leaves what is not yet removed whole and loadable by commit, or no longer visible.
    Removing the whole repo finishes the work.
    """
    repo, folder = plan.repo, hub.folder(plan.repo)
    with explained("removing", folder):
        for name in plan.refs:
            durable.remove(folder / "refs" / name)
            reach("remove:ref")
        for commit in plan.commits:
            _remove_snapshot(hub, repo, commit)
            reach("remove:snapshot")
    references = ReferenceIndex(store.roots)
    freed = pending = 0
    kept: Counter[str] = Counter()
    for name in plan.blobs:
        freed += _unlink(folder / "blobs" / name)
        reach("remove:blob")
        digest = Digest.from_etag(name)
        if digest is None:
            continue
        size = _size(store.path(digest))
        released = release(store, digest, references)
        reach("remove:released")
        freed += released.bytes_freed
        if released.kept and size:
            pending += size
            kept[released.kept] += 1
    if plan.whole_repo:
        # Last: as long as it stands, the same command finds what is left to do.
        with explained("removing", folder), suppress(FileNotFoundError):
            shutil.rmtree(folder)
    items = tuple(KeptItem(f"{count} blob(s)", reason) for reason, count in kept.most_common())
    return Removal(plan.remove, items, plan.bytes_planned, freed, pending, dry_run=False)


def _freeable(store: Store, folder: Path, names: frozenset[str]) -> dict[str, int]:
    """Return what the disk gets back for each of those blobs."""
    references = ReferenceIndex(store.roots)
    sizes = {}
    for name in names:
        here = _status(folder / "blobs" / name)
        digest = Digest.from_etag(name)
        sizes[name] = allocated_bytes(here) if here and _is_own(here) else 0
        if digest is None or references.alive(digest, besides=folder) is not None:
            continue
        stored = _status(store.path(digest))
        if stored is None:
            continue
        shared = here is not None and os.path.samestat(here, stored)
        if stored.st_nlink <= 1 + shared:
            sizes[name] += allocated_bytes(stored)
    return sizes


def _is_own(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _unlink(path: Path) -> int:
    """Remove a name from the cache; return the bytes that only it held."""
    status = _status(path)
    removed = durable.remove(path)
    return allocated_bytes(status) if removed and status and _is_own(status) else 0


def _remove_snapshot(hub: HubCache, repo: Repo, commit: str) -> None:
    """Make a snapshot vanish at once, so that no loader meets half of it."""
    snapshot = hub.snapshot(repo, commit)
    doomed = hub.folder(repo) / durable.unique_name(".snapshot-")
    with suppress(FileNotFoundError):  # another removal was quicker
        snapshot.rename(doomed)
    reach("remove:hidden")
    durable.remove(hub.folder(repo) / "trees" / f"{commit}.json")
    with suppress(FileNotFoundError):
        shutil.rmtree(doomed)


def _all_blobs(store: Store, hub: HubCache, repo: Repo) -> frozenset[str]:
    """Return the blobs in a repo's folder, and those that a removal cut short took out of it."""
    blobs, prefix = hub.folder(repo) / "blobs", f"{repo.folder}/blobs/"
    names = {path.name for path in blobs.iterdir()} if blobs.is_dir() else set[str]()
    for path in store.roots.own_hub().paths():
        digest = Digest.from_etag(path.removeprefix(prefix)) if path.startswith(prefix) else None
        if digest is not None and store.has(digest):
            names.add(digest.etag)
    return frozenset(names)


def _pointed(hub: HubCache, repo: Repo, commits: Iterable[str]) -> frozenset[str]:
    """Return the names of the blobs that snapshots point to."""
    return frozenset(
        path.readlink().name
        for commit in commits
        for path in hub.snapshot(repo, commit).rglob("*")
        if path.is_symlink()
    )


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _size(path: Path) -> int:
    status = _status(path)
    return allocated_bytes(status) if status else 0


def _last_used(store: Store, blobs: Iterable[str]) -> str | None:
    digests = filter(None, map(Digest.from_etag, blobs))
    stamps = [stamp for digest in digests if (stamp := store.last_used(digest)) is not None]
    return utc_text(min(stamps)) if stamps else None
