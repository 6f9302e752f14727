"""Finds everything a loader may open, so that a verification can tell whether it is good.

Besides the store's blobs these are the hub's own files: copies of small ones, reflinks, and what
stock clients brought and nobody has settled yet.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs.oserrors import explained
from modelkeep.hub import held
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store
from modelkeep.store.verify import Copy, Unverifiable

_UNFINISHED = ".incomplete"
_WRITABLE = 0o222


@dataclass(slots=True)
class Checks:
    """What is to be hashed, with sizes in bytes, and what cannot be.

    `missing` are contents that a snapshot points to, or that the hub got from the store, and that
    are gone.
    """

    blobs: dict[Digest, int] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    missing: set[Digest] = field(default_factory=set)
    unverifiable: list[Unverifiable] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes of everything to be hashed."""
        return sum(self.blobs.values()) + sum(copy.size for copy in self.copies)


def gather(store: Store, hub: HubCache, named: Sequence[tuple[Repo, str | None]]) -> Checks:
    """Find what is to be checked of repos and revisions, or of the whole keep where none is named.

    NotFoundError where one that is named is not here.
    """
    gatherer = _Gatherer(store, hub)
    if not named:
        gatherer.checks.blobs = {digest: status.st_size for digest, status in store.blobs()}
        for repo in hub.repos():
            gatherer.add_repo(repo)
    for repo, revision in named:
        if revision is None and hub.commits(repo):
            gatherer.add_repo(repo)
        else:
            commit = held.find(hub, repo, revision).commit
            gatherer.add_blobs(repo, gatherer.add_snapshot(repo, commit))
    return gatherer.checks


def users(hub: HubCache, digest: Digest) -> tuple[str, ...]:
    """Return the repos of a hub that have a content now."""
    return tuple(
        str(repo)
        for repo in hub.repos()
        if os.path.lexists(hub.directory / hub.blob_name(repo, digest))
    )


class _Gatherer:
    def __init__(self, store: Store, hub: HubCache) -> None:
        self.checks = Checks()
        self._store = store
        self._hub = hub
        self._settled = store.roots.own_hub().paths()

    def add_repo(self, repo: Repo) -> None:
        """Add all snapshots of a repo, and its blobs that none of them points to."""
        paths = {self._hub.folder(repo) / "blobs" / name for name in self._blob_names(repo)}
        for commit in self._hub.commits(repo):
            paths |= self.add_snapshot(repo, commit)
        self.add_blobs(repo, paths)

    def add_snapshot(self, repo: Repo, commit: str) -> set[Path]:
        """Return what a snapshot's links point to; add its files that are no links."""
        top = self._hub.snapshot(repo, commit)
        noted = {file.path: file.digest for file in self._hub.tree(repo, commit) or ()}
        pointed = set()
        for base, _, names in os.walk(top):
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
                    self.checks.missing.add(digest)
                    continue
                status = None
            except OSError:
                status = None  # hashing it says why
            if digest is None or not self._is_stored(repo, digest, path, status):
                self._add_copy(repo, path, digest)

    def _is_stored(
        self, repo: Repo, digest: Digest, path: Path, status: os.stat_result | None
    ) -> bool:
        """Tell whether a blob of the hub is the store's very inode; add the store's in any case."""
        try:
            stored = self._store.path(digest).stat()
        except OSError:
            # A sealed file that the hub got from the store; what clients bring is writable.
            ours = f"{repo.folder}/blobs/{path.name}" in self._settled
            if ours and status is not None and not status.st_mode & _WRITABLE:
                self.checks.missing.add(digest)
            return False
        self.checks.blobs[digest] = stored.st_size
        return status is not None and os.path.samestat(stored, status)

    def _add_copy(self, repo: Repo, path: Path, digest: Digest | None) -> None:
        if digest is None:
            reason = "its name is no checksum, and nobody noted another"
            self.checks.unverifiable.append(Unverifiable(None, str(path), reason))
            return
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

    def _blob_names(self, repo: Repo) -> list[str]:
        folder = self._hub.folder(repo) / "blobs"
        try:
            with explained("listing blobs", folder):
                names = [path.name for path in folder.iterdir()]
        except FileNotFoundError:
            return []
        return [
            name for name in names if not name.startswith(".") and not name.endswith(_UNFINISHED)
        ]
