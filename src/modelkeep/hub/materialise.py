"""Puts a revision that the store holds into a stock cache: blobs, snapshot, tree, refs.

The order is the safety: a reader that sees a ref sees a snapshot, one that sees a snapshot sees
every blob in it, and a collector sees the reference before the blob is used.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.fs.links import COPY_BELOW, Linker, LinkMode, Placed
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo
from modelkeep.hub.tree import TreeFile
from modelkeep.store import heal
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.marks import wait_out
from modelkeep.store.roots import Root
from modelkeep.store.store import Store

# In the keep's own hub nothing large is ever copied: where neither hard link nor reflink works, a
# relative link into the store beside it does.
OWN_HUB_RUNGS = (LinkMode.HARDLINK, LinkMode.REFLINK, LinkMode.SYMLINK)
FOREIGN_RUNGS = (LinkMode.HARDLINK, LinkMode.REFLINK, LinkMode.COPY)


@dataclass(slots=True)
class Placement:
    """What placing blobs did: how many by which link mode, bytes copied, bytes of all files.

    `placed` counts the files that were put there just now. `reasons` tells why a better mode was
    not used.
    """

    files: int = 0
    placed: int = 0
    bytes_total: int = 0
    bytes_copied: int = 0
    modes: Counter[LinkMode] = field(default_factory=Counter)
    reasons: set[str] = field(default_factory=set)

    def count(self, file: TreeFile, mode: LinkMode) -> None:
        """Count a file that stands in its place."""
        self.files += 1
        self.bytes_total += file.size
        self.modes[mode] += 1

    def add(self, file: TreeFile, placed: Placed) -> None:
        """Count a file that was placed just now, and what that took."""
        self.count(file, placed.mode)
        self.placed += 1
        self.bytes_copied += placed.bytes_copied
        if placed.reason:
            self.reasons.add(placed.reason)


class Materialiser:
    """Places revisions of one store into one registered cache. Safe from any number at once.

    With `note`, small files that somebody edited are kept in the trash of the store before they are
    replaced, and `note` is told of each in a line.
    """

    def __init__(
        self,
        store: Store,
        cache: HubCache,
        root: Root,
        rungs: Sequence[LinkMode],
        *,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._root = root
        self._linker = Linker(rungs)
        self._note = note

    def place_blobs(
        self, repo: Repo, files: Iterable[TreeFile], placement: Placement
    ) -> list[TreeFile]:
        """Put the blobs of files into the cache; return the files whose blobs the store lacks.

        A file counts as lacking also when a collector took its blob away just now: fetch it again.
        Raises CorruptError where a blob has changed since it was hashed, FileNotFoundError where
        somebody removed the repo's folder meanwhile.
        """
        wanted = {file.digest: file for file in files}
        pending = {
            digest: file
            for digest, file in wanted.items()
            if not self._already(repo, digest, placement, file)
        }
        self._refer(repo, wanted, pending)
        if not pending:
            return []
        self._cache.make_folder(repo, "snapshots")  # scanners miss it first of all
        blobs = self._cache.make_folder(repo, "blobs")
        lacking = []
        for digest, file in pending.items():
            wait_out(self._store.layout, digest)
            if not self._place(repo, digest, file, placement):
                lacking.append(file)
        durable.sync_dir(blobs)
        return lacking

    def finish(
        self,
        repo: Repo,
        commit: str,
        files: Sequence[TreeFile],
        *,
        tree: Sequence[TreeFile],
        refs: Iterable[str],
    ) -> Path:
        """Let the placed files appear: their snapshot, then the tree, then the refs.

        FileNotFoundError, and no ref has moved, where a removal took a blob away meanwhile.
        """
        snapshot = self._cache.snapshot(repo, commit)
        for file in files:
            self._keep_edited(snapshot / file.path, file)  # editors put files in place of links
        self._cache.write_snapshot(repo, commit, files)
        reach("materialise:snapshot")
        for file in files:
            if not (snapshot / file.path).exists():
                raise FileNotFoundError(snapshot / file.path)
        self._cache.write_tree(repo, commit, tree)
        self._cache.make_lock_folder(repo)
        reach("materialise:tree")
        for name in refs:
            self._cache.write_ref(repo, name, commit)
            reach("materialise:ref")
        for digest in {file.digest for file in files}:
            self._store.mark_used(digest)
        return snapshot

    def _refer(self, repo: Repo, wanted: Collection[Digest], pending: Collection[Digest]) -> None:
        """Record what is about to be used, and what is used already without a record."""
        names = {digest: self._cache.blob_name(repo, digest) for digest in wanted}
        recorded = self._root.paths() if len(pending) < len(names) else frozenset[str]()
        uses = [
            (digest, name)
            for digest, name in names.items()
            if digest in pending or name not in recorded
        ]
        if uses:
            self._root.refer(uses)
            reach("materialise:referred")

    def _target(self, repo: Repo, digest: Digest) -> Path:
        return self._cache.directory / self._cache.blob_name(repo, digest)

    def _already(self, repo: Repo, digest: Digest, placement: Placement, file: TreeFile) -> bool:
        """Tell whether the content stands here already, checked, so that nothing is to do.

        Large files must be the store's very inode. Small ones are copies that people edit, so they
        are hashed: an edited one is replaced, and so is one that shares the store's inode, or that
        a client left writable in the keep's own hub.
        """
        target, blob = self._target(repo, digest), self._store.path(digest)
        try:
            if target.is_symlink() and target.resolve() != blob.resolve():
                return False  # into a client's shared store, which other clients empty
            if target.samefile(blob):
                if file.size < COPY_BELOW and not target.is_symlink():
                    return False  # taken over from a client: people edit it, so it becomes a copy
                info = self._store.info(digest)
                if info is None or info.intact is not True:
                    self._store.describe(digest, None)  # raises where the bytes are bad
                mode = LinkMode.SYMLINK if target.is_symlink() else LinkMode.HARDLINK
            elif (
                file.size < COPY_BELOW
                and (self._root.home is not None or durable.is_sealed(target.stat()))
                and hash_file(target, digest.algorithm)[0] == digest
            ):
                mode = LinkMode.COPY
            else:
                return False
        except OSError:
            return False
        placement.count(file, mode)
        return True

    def _place(self, repo: Repo, digest: Digest, file: TreeFile, placement: Placement) -> bool:
        target = self._target(repo, digest)
        try:
            others = target.exists() and not durable.same_inode(target, self._store.path(digest))
            if others and not self._store.is_proven(digest):
                return False  # what stands there may be the last good copy
            self._store.describe(digest, None)
            self._keep_edited(target, file)
            placed = self._linker.place(self._store.path(digest), target, replace=True)
        except FileNotFoundError:
            return False
        except ModelkeepError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise FileNotFoundError(target.parent) from error
            raise
        if placed.mode is LinkMode.SYMLINK and not self._store.has(digest):
            return False  # unlike other links, this one does not hold what a collector takes away
        reach("materialise:placed")
        placement.add(file, placed)
        return True

    def _keep_edited(self, path: Path, file: TreeFile) -> None:
        """Keep a small file that is about to be replaced, where its bytes are somebody's own."""
        if self._note is None:
            return
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size >= COPY_BELOW:
                return
            if hash_file(path, file.digest.algorithm)[0] == file.digest:
                return
        except OSError:
            return  # nothing there, as a rule
        if kept := heal.keep_bad_bytes(self._store.layout, file.digest, path):
            self._note(f"`{file.path}` had been edited; the edit is kept for a day: {kept}")
