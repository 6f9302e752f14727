"""Takes repos and revisions out of the keep: a plan that can be shown, then its execution.

What one revision alone uses goes at once; what others use, here or in another registered cache,
stays, and the plan says so. What is leased or pinned stays whole.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from modelkeep.errors import AccessError, BusyError, NotFoundError, UsageError
from modelkeep.fs.clock import now_ns
from modelkeep.fs.folders import entries
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import allocated_bytes, freed_by
from modelkeep.fs.syncpoint import reach
from modelkeep.hub import use
from modelkeep.hub.cache import HubCache
from modelkeep.hub.held import not_here
from modelkeep.hub.holds import hold_on
from modelkeep.hub.removal.hide import give_up, hide, pointed, remove_folder
from modelkeep.hub.removal.litter import why_busy
from modelkeep.hub.repo import Repo
from modelkeep.hub.scan import INCOMPLETE, scan, scan_all
from modelkeep.store.condemned import release
from modelkeep.store.digest import Digest
from modelkeep.store.garbage import Kept
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
class RepoRemoval:
    """What goes of one repo: refs, snapshots, and the blobs that nothing else there needs."""

    repo: Repo
    commits: tuple[str, ...]
    refs: tuple[str, ...]
    whole_repo: bool
    blobs: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """What goes, as a person may name it."""
        return [f"{self.repo}@{commit}" for commit in self.commits] or [str(self.repo)]


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What a removal would do. Made without changing anything.

    Content that several of the revisions to remove share is counted with the first of them.
    """

    repos: tuple[RepoRemoval, ...]
    remove: tuple[RemovedItem, ...]
    kept: tuple[Kept, ...]
    bytes_planned: int
    bytes_pending: int


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal did, or with `dry_run` would do.

    `bytes_freed` came back to the file system; `bytes_pending` will when others let go: other
    caches, and processes. What another repo of the keep uses is merely `kept`.
    """

    remove: tuple[RemovedItem, ...]
    kept: tuple[Kept, ...]
    bytes_planned: int
    bytes_freed: int
    bytes_pending: int
    dry_run: bool


def plan(store: Store, hub: HubCache, targets: Iterable[tuple[Repo, str | None]]) -> RemovalPlan:
    """Decide what removing repos (revision None), or revisions of repos, takes away together.

    Removing a branch removes its commit with every ref to it. NotFoundError where the keep has no
    such repo or revision.
    """
    chosen: dict[Repo, set[str]] = {}
    for repo, revision in targets:
        chosen.setdefault(repo, set()).update(_chosen(hub, repo, revision))
    repos = tuple(_of_repo(store, hub, repo, commits) for repo, commits in chosen.items())
    freeable, staying = _freeable(store, hub, repos)
    uses = _uses(store, hub, chosen)
    items, counted = [], set[str]()
    for part in repos:
        for commit in part.commits:
            names = pointed(hub, part.repo, [commit]).intersection(part.blobs)
            items.append(
                RemovedItem(
                    kind="revision",
                    name=f"{part.repo}@{commit}",
                    bytes=sum(freeable.get(name, 0) for name in names - counted),
                    reason="chosen by name",
                    last_used=uses.get((part.repo, commit)),
                )
            )
            counted |= names
    return RemovalPlan(
        repos,
        tuple(items),
        tuple(Kept(str(digest), reason) for digest, reason in staying.items()),
        sum(freeable.values()),
        _pending(store, hub, staying, besides=repos),
    )


def preview(plan: RemovalPlan) -> Removal:
    """Return what `execute` would do, as far as can be told without doing it."""
    return Removal(plan.remove, plan.kept, plan.bytes_planned, 0, plan.bytes_pending, dry_run=True)


def require_unheld(store: Store, hub: HubCache, plan: RemovalPlan) -> None:
    """Raise BusyError, which says who uses it and how to end that, if anything is in use."""
    leases = store.leases.look()
    for part in plan.repos:
        for commit in part.commits or ("",):  # a folder without snapshots may be pinned, too
            if hold := hold_on(hub, leases, part.repo, commit):
                raise hold.busy(f"{part.repo}@{commit[:12]}" if commit else str(part.repo))
        # A revision on its way here may be going to use what goes with these.
        digests = frozenset(filter(None, map(Digest.from_etag, part.blobs)))
        for commit in part.commits:
            if hold := hold_on(hub, leases, part.repo, commit, digests):
                raise hold.busy(str(part.repo))
        try:
            scanned = scan(hub, part.repo)
        except AccessError:
            continue  # what is closed is kept, piece by piece
        if scanned.unfinished and why_busy(hub, scanned, now_ns(store.layout.tmp)):
            raise BusyError(
                f"a client may be downloading `{part.repo}`",
                hint="wait until it has ended; what one that was stopped has left goes with"
                f" rm {quote(str(hub.folder(part.repo) / 'blobs'))}/*{INCOMPLETE}",
            )


def execute(
    store: Store, hub: HubCache, plan: RemovalPlan, *, past_refusals: bool = False
) -> Removal:
    """Carry a plan out: refs and snapshots first, then each blob, here and in the store.

    What is held by now stays, and is told among what was kept; with `past_refusals` so is what the
    caller may not remove, instead of an AccessError. A crash leaves what is not yet
    removed whole and loadable by commit, or no longer visible. Removing the whole repo finishes the
    work.
    """
    kept = []
    going = []
    for part in plan.repos:
        try:
            reason = hide(store, hub, part.repo, part.commits, part.refs)
        except AccessError as error:
            if not past_refusals:
                raise
            reason = error.message
        if reason:
            kept += [Kept(name, reason) for name in part.names]
        else:
            going.append(part)
    freed = 0
    for part in going:
        freed += give_up(store, hub, part.repo, part.blobs)
    references = ReferenceIndex(store.roots)
    staying: dict[Digest, str] = {}
    for digest in filter(None, map(Digest.from_etag, _names(going))):
        released = release(store, digest, references)
        reach("remove:released")
        freed += released.bytes_freed
        if released.kept and store.has(digest):
            staying[digest] = released.kept
    pending = _pending(store, hub, staying)
    for part in going:
        if part.whole_repo:
            # Last: as long as it stands, the same command finds what is left to do.
            remove_folder(store, hub, part.repo)
    kept += [Kept(str(digest), reason) for digest, reason in staying.items()]
    gone = {name for part in going for name in part.names}
    return Removal(
        remove=tuple(item for item in plan.remove if item.name in gone),
        kept=tuple(kept),
        bytes_planned=plan.bytes_planned,
        bytes_freed=freed,
        bytes_pending=pending,
        dry_run=False,
    )


def _chosen(hub: HubCache, repo: Repo, revision: str | None) -> list[str]:
    """Return the commits that are meant."""
    hub.refuse_planted(repo)
    if not hub.folder(repo).is_dir():
        raise not_here(repo)
    if hub.leads_away(repo):
        raise UsageError(
            f"`{repo}` does not lie in the keep: its folder is a link to another place",
            hint=f"look at what is there, and remove the link: {hub.folder(repo)}",
            path=hub.folder(repo),
        )
    if revision is None:
        return hub.commits(repo)
    commit = hub.resolve(repo, revision)
    if commit is None:
        raise NotFoundError(
            f"`{repo}` has no revision `{revision}` in the keep",
            hint=f"see its revisions: modelkeep show {repo}",
        )
    return [commit]


def _of_repo(store: Store, hub: HubCache, repo: Repo, chosen: set[str]) -> RepoRemoval:
    staying = [commit for commit in hub.commits(repo) if commit not in chosen]
    if staying:
        blobs = pointed(hub, repo, chosen) - pointed(hub, repo, staying)
    else:
        blobs = _all_blobs(store, hub, repo)
    refs = hub.refs(repo).items()
    return RepoRemoval(
        repo=repo,
        commits=tuple(sorted(chosen)),
        refs=tuple(name for name, commit in refs if commit in chosen or not staying),
        whole_repo=not staying,
        blobs=tuple(sorted(blobs)),
    )


def _names(repos: Iterable[RepoRemoval]) -> list[str]:
    return sorted({name for part in repos for name in part.blobs})


def _freeable(
    store: Store, hub: HubCache, repos: Iterable[RepoRemoval]
) -> tuple[dict[str, int], dict[Digest, str]]:
    """Return what the disk gets back for each blob that goes, and why contents stay in the store.

    A name in the hub that is an inode of its own goes in any case.
    """
    going: dict[str, list[Path]] = {}
    for part in repos:
        for name in part.blobs:
            going.setdefault(name, []).append(hub.folder(part.repo) / "blobs" / name)
    references = ReferenceIndex(store.roots)
    leases = store.leases.look()
    sizes, staying = dict[str, int](), dict[Digest, str]()
    for name, paths in going.items():
        here = list(filter(None, map(_status, paths)))
        digest = Digest.from_etag(name)
        sizes[name] = sum(map(freed_by, here))
        if digest is None:
            continue
        blob = store.path(digest)
        stored = _status(blob)
        if stored is None:
            continue
        others = stored.st_nlink - 1 - sum(os.path.samestat(status, stored) for status in here)
        if reference := references.alive(digest, blob, besides=paths):
            staying[digest] = f"used by {reference.file.parent}"
        elif reason := leases.protects(digest):
            staying[digest] = reason
        elif others > 0:
            staying[digest] = f"linked from {others} other place(s)"
        else:
            sizes[name] += allocated_bytes(stored)
    return sizes, staying


def _pending(
    store: Store,
    hub: HubCache,
    staying: Iterable[Digest],
    *,
    besides: Iterable[RepoRemoval] = (),
) -> int:
    """Return the bytes of contents that stay, but for those that the keep's own repos have."""
    staying = set(staying)
    if not staying:
        return 0
    going = {part.repo: set(part.blobs) for part in besides}
    own = set[str]()
    for repo in hub.repos():
        try:
            with explained("looking at a repo", hub.folder(repo)):
                names = {entry.name for entry in entries(f"{hub.directory}/{repo.folder}/blobs")}
        except AccessError:
            continue  # nobody can tell what a closed repo shares
        own |= names - going.get(repo, set())
    others = (_status(store.path(digest)) for digest in staying if digest.etag not in own)
    return sum(allocated_bytes(status) for status in others if status)


def _all_blobs(store: Store, hub: HubCache, repo: Repo) -> frozenset[str]:
    """Return the blobs in a repo's folder, and those that a removal cut short took out of it."""
    blobs, prefix = hub.folder(repo) / "blobs", f"{repo.folder}/blobs/"
    names = {path.name for path in blobs.iterdir()} if blobs.is_dir() else set[str]()
    for path in store.roots.own_hub().paths():
        digest = Digest.from_etag(path.removeprefix(prefix)) if path.startswith(prefix) else None
        if digest is not None and store.has(digest):
            names.add(digest.etag)
    return frozenset(names)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _uses(
    store: Store, hub: HubCache, repos: Container[Repo]
) -> dict[tuple[Repo, str], str | None]:
    """Return when the revisions of some repos were last used."""
    scans, _ = scan_all(hub)
    users = use.users(scans)
    found = {}
    for scanned in scans:
        for revision in scanned.revisions if scanned.repo in repos else ():
            last = use.last_used(store, use.telling(revision.blobs, scanned.blobs, users))
            found[scanned.repo, revision.commit] = None if last is None else utc_text(last)
    return found
