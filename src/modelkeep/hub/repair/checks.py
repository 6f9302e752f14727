"""Finds everything a loader may open, so that a verification can tell whether it is good.

Besides the store's blobs these are the hub's own files: copies of small ones, reflinks, and what
stock clients brought and nobody has settled yet; and, of other caches that use the store, the large
files that are not the store's inode. Looks at names, and at the notes, whose damage it finds; reads
no contents.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable, folders
from modelkeep.fs.links import COPY_BELOW
from modelkeep.fs.oserrors import explained
from modelkeep.hub import held, notes, scan
from modelkeep.hub.cache import HubCache, unless_gone
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest
from modelkeep.store.report import Copy, Unverifiable
from modelkeep.store.roots import Root
from modelkeep.store.store import Store


@dataclass(slots=True)
class Checks:
    """What is to be hashed, with sizes in bytes, and what cannot be.

    `missing` are contents that a snapshot points to, or that the hub got from the store, and that
    are gone, each with the repos that miss it.
    """

    blobs: dict[Digest, int] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    missing: dict[Digest, set[Repo]] = field(default_factory=dict)
    unverifiable: list[Unverifiable] = field(default_factory=list)


def gather(store: Store, hub: HubCache, named: Sequence[tuple[Repo, str | None]]) -> Checks:
    """Find what is to be checked of repos and revisions, or of the whole keep where none is named.

    NotFoundError where one that is named is not here.
    """
    gatherer = _Gatherer(hub, store)
    if not named:
        gatherer.checks.blobs = {digest: status.st_size for digest, status in store.blobs()}
        for repo in hub.repos():
            gatherer.add_repo(repo)
    for repo, revision in named:
        if revision is None and hub.commits(repo):
            gatherer.add_repo(repo)
        else:
            gatherer.add_revision(repo, held.resolved(hub, repo, revision))
    gatherer.add_other_caches(store)
    return gatherer.checks


def gather_cache(cache: HubCache) -> Checks:
    """Find what is to be checked of a stock cache that is no keep's."""
    gatherer = _Gatherer(cache, None)
    for repo in cache.repos():
        gatherer.add_repo(repo)
    return gatherer.checks


def users(hub: HubCache, digest: Digest) -> tuple[str, ...]:
    """Return the repos of a hub that have a content now."""
    return tuple(
        str(repo)
        for repo in hub.repos()
        if os.path.lexists(hub.directory / hub.blob_name(repo, digest))
    )


def used_in(root: Root) -> Iterator[tuple[Digest, Path]]:
    """Yield the blobs that a cache of this machine says it has from the store.

    Only names that a stock cache gives to blobs, inside the cache: anybody who may write into the
    store may write anything there. ModelkeepError where its references cannot be read.
    """
    if root.home is None or not root.is_reachable():
        return
    top = os.path.realpath(root.directory)
    found, _ = root.references()
    for digest, path in dict.fromkeys((one.digest, one.path) for one in found):
        file = root.directory / path
        named_so = file.name == digest.etag and file.parent.name == "blobs"
        if named_so and _is_within(os.path.realpath(file.parent), top):
            yield digest, file


class _Gatherer:
    def __init__(self, hub: HubCache, store: Store | None) -> None:
        self.checks = Checks()
        self._store = store
        self._hub = hub
        self._settled = store.roots.own_hub().paths() if store else frozenset[str]()
        own = [hub.directory, *([store.layout.blobs] if store else [])]
        self._inside = [os.path.realpath(path) for path in own]
        self._seen: set[tuple[Path, Digest]] = set()

    def add_repo(self, repo: Repo) -> None:
        """Add all snapshots of a repo, and its blobs that none of them points to."""
        folder = self._hub.folder(repo)
        self._add_notes(repo, None)
        try:
            with explained("looking at a repo", folder):
                names = [entry.name for entry in folders.entries(f"{folder}/blobs")]
                paths = {folder / "blobs" / name for name in names if scan.is_finished(name)}
                for commit in self._hub.commits(repo):
                    paths |= self.add_snapshot(repo, commit)
        except ModelkeepError as error:
            self.checks.unverifiable.append(Unverifiable(None, str(folder), error.message))
            return
        self.add_blobs(repo, paths)

    def add_revision(self, repo: Repo, commit: str) -> None:
        """Add a snapshot of a repo, and the blobs it points to."""
        self._add_notes(repo, commit)
        try:
            with explained("looking at a revision", self._hub.snapshot(repo, commit)):
                paths = self.add_snapshot(repo, commit)
        except ModelkeepError as error:
            top = f"{self._hub.snapshot(repo, commit)}"
            self.checks.unverifiable.append(Unverifiable(None, top, error.message))
            return
        self.add_blobs(repo, paths)

    def add_snapshot(self, repo: Repo, commit: str) -> set[Path]:
        """Return what a snapshot's links point to; add its files that are no links.

        OSError where a folder of it is closed to the caller.
        """
        top = self._hub.snapshot(repo, commit)
        noted = {file.path: file.digest for file in self._hub.tree(repo, commit) or ()}
        pointed = set()
        for base, _, names in os.walk(top, onerror=unless_gone):
            for path in (Path(base, name) for name in names):
                if path.is_symlink():
                    pointed.add(Path(os.path.normpath(path.parent / path.readlink())))
                else:
                    self._add_copy(repo, path, noted.get(path.relative_to(top).as_posix()))
        return pointed

    def add_blobs(self, repo: Repo, paths: set[Path]) -> None:
        """Add blobs of a repo's folder, each as what it is: the store's, or the hub's own."""
        for path in sorted(paths):
            digest = Digest.from_etag(path.name)
            try:
                status = path.stat()
            except FileNotFoundError:
                if digest is not None:
                    self._miss(repo, digest)
                    continue
                status = None
            except OSError:
                status = None  # hashing it says why
            if digest is None or not self._is_stored(repo, digest, path, status):
                self._add_copy(repo, path, digest)

    def add_other_caches(self, store: Store) -> None:
        """Add the large files of registered caches that are no longer, or never were, the store's.

        Small ones stand for themselves: people edit them.
        """
        for root in store.roots:
            try:
                for digest, file in used_in(root):
                    if digest in self.checks.blobs:
                        self._add_others(store, root, digest, file)
            except ModelkeepError:
                continue  # of a cache that this caller may not look into, its owner can tell

    def _add_notes(self, repo: Repo, commit: str | None) -> None:
        for path, reason in notes.damaged(self._hub, repo, commit):
            self.checks.unverifiable.append(Unverifiable(None, str(path), reason))

    def _add_others(self, store: Store, root: Root, digest: Digest, file: Path) -> None:
        try:
            status, stored = file.lstat(), store.path(digest).lstat()
        except OSError:
            return
        large = max(status.st_size, stored.st_size) >= COPY_BELOW
        if large and stat.S_ISREG(status.st_mode) and not os.path.samestat(status, stored):
            copy = Copy(digest, file, status.st_size, f"cache {root.directory}")
            self.checks.copies.append(copy)

    def _miss(self, repo: Repo, digest: Digest) -> None:
        self.checks.missing.setdefault(digest, set()).add(repo)

    def _is_stored(
        self, repo: Repo, digest: Digest, path: Path, status: os.stat_result | None
    ) -> bool:
        """Tell whether a blob of the hub is the store's very inode; add the store's in any case."""
        if self._store is None:
            return False
        try:
            stored = self._store.path(digest).lstat()
        except OSError:
            # A sealed file that the hub got from the store; what clients bring is writable.
            ours = f"{repo.folder}/blobs/{path.name}" in self._settled
            if ours and status is not None and durable.is_sealed(status):
                self._miss(repo, digest)
            return False
        self.checks.blobs[digest] = stored.st_size
        return status is not None and os.path.samestat(stored, status)

    def _add_copy(self, repo: Repo, path: Path, digest: Digest | None) -> None:
        if digest is None:
            reason = "its name is no checksum, and nobody noted another"
            self.checks.unverifiable.append(Unverifiable(None, str(path), reason))
            return
        if path.is_symlink():  # newer clients keep payloads in one place, and link to them
            payload = Path(os.path.realpath(path))
            inside = [*self._inside, os.path.realpath(self._hub.folder(repo))]
            if not any(_is_within(os.fspath(payload), top) for top in inside):
                reason = "it is a link that leads out of the cache"
                self.checks.unverifiable.append(Unverifiable(digest, str(path), reason))
                return
            path = payload
        if (path, digest) in self._seen:
            return
        self._seen.add((path, digest))
        try:
            with explained("looking at", path):
                status = path.stat()
        except FileNotFoundError:
            return  # a removal was quicker
        except ModelkeepError as error:
            self.checks.unverifiable.append(Unverifiable(digest, str(path), error.message))
            return
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        self.checks.copies.append(Copy(digest, path, size, str(repo)))


def _is_within(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")
