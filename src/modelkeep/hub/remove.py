"""Takes repos and revisions out of the keep: a plan that can be shown, then its execution.

What one revision alone uses goes at once; what others use, here or in another registered cache,
stays, and the plan says so.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import NotFoundError
from modelkeep.fs import durable
from modelkeep.fs.oserrors import explained
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
    """A revision to remove; `bytes` is what only it uses in this keep."""

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
    names = _all_blobs(folder) if whole else frozenset[str]().union(*going.values())
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
    """Carry a plan out: refs, snapshots and trees first, then blobs, then the store's own.

    A crash leaves what is not yet removed whole and loadable by commit, or no longer visible; the
    same command finishes the work.
    """
    repo, folder = plan.repo, hub.folder(plan.repo)
    with explained("removing", folder):
        for name in plan.refs:
            durable.remove(folder / "refs" / name)
            reach("remove:ref")
        for commit in plan.commits:
            _remove_snapshot(hub, repo, commit)
            reach("remove:snapshot")
        for name in plan.blobs:
            durable.remove(folder / "blobs" / name)
            reach("remove:blob")
        if plan.whole_repo:
            shutil.rmtree(folder)
    references = ReferenceIndex(store.roots)
    freed = pending = 0
    kept: Counter[str] = Counter()
    for digest in filter(None, map(Digest.from_etag, plan.blobs)):
        size = _size(store.path(digest))
        released = release(store, digest, references)
        freed += released.bytes_freed
        if released.kept and size:
            pending += size
            kept[released.kept] += 1
    items = tuple(KeptItem(f"{count} blob(s)", reason) for reason, count in kept.most_common())
    return Removal(plan.remove, items, plan.bytes_planned, freed, pending, dry_run=False)


def _freeable(store: Store, folder: Path, names: frozenset[str]) -> dict[str, int]:
    """Return the sizes of those blobs that nothing outside the repo's folder uses."""
    references = ReferenceIndex(store.roots)
    sizes = {}
    for name in names:
        digest = Digest.from_etag(name)
        if digest is None or references.alive(digest, besides=folder) is None:
            sizes[name] = _size(folder / "blobs" / name)
    return sizes


def _remove_snapshot(hub: HubCache, repo: Repo, commit: str) -> None:
    """Make a snapshot vanish at once, so that no loader meets half of it."""
    snapshot = hub.snapshot(repo, commit)
    doomed = hub.folder(repo) / durable.unique_name(".snapshot-")
    try:
        snapshot.rename(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed)
    durable.remove(hub.folder(repo) / "trees" / f"{commit}.json")


def _all_blobs(folder: Path) -> frozenset[str]:
    blobs = folder / "blobs"
    return frozenset(path.name for path in blobs.iterdir()) if blobs.is_dir() else frozenset()


def _pointed(hub: HubCache, repo: Repo, commits: Iterable[str]) -> frozenset[str]:
    """Return the names of the blobs that snapshots point to."""
    return frozenset(
        path.readlink().name
        for commit in commits
        for path in hub.snapshot(repo, commit).rglob("*")
        if path.is_symlink()
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _last_used(store: Store, blobs: Iterable[str]) -> str | None:
    digests = filter(None, map(Digest.from_etag, blobs))
    stamps = [stamp for digest in digests if (stamp := store.last_used(digest)) is not None]
    return utc_text(min(stamps)) if stamps else None
