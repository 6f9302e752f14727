"""Settles what stock clients wrote into the keep's hub: hashed, shared with the store, sealed.

A client never writes into a file that has its final name; it replaces names. So a running download
is not disturbed: what has a name is complete, is hashed where it stands, gets into the store by its
own inode, and the name is replaced, if at all, by one rename. The store of blobs that newer clients
keep beside their repos is read through and never changed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep.errors import AccessError, ModelkeepError, NoSpaceError
from modelkeep.fs import durable, sharing
from modelkeep.fs.links import COPY_BELOW, Linker, LinkMode
from modelkeep.fs.oserrors import explained
from modelkeep.fs.sameness import identity
from modelkeep.fs.space import freed_by, require_free
from modelkeep.fs.syncpoint import reach
from modelkeep.hub import provenance, unsettled
from modelkeep.hub.cache import HubCache
from modelkeep.hub.holds import in_hand
from modelkeep.hub.materialise import OWN_HUB_RUNGS, Materialiser, Placement
from modelkeep.hub.progress import Progress
from modelkeep.hub.repo import Repo
from modelkeep.hub.skipped import Skipped
from modelkeep.hub.tree import TreeFile
from modelkeep.hub.unsettled import Unsettled
from modelkeep.hub.upstream import Upstream
from modelkeep.store import badcopies
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.meta import Source
from modelkeep.store.store import Store
from modelkeep.store.taking import Outcome, Taken, take

_READABLE = 0o044


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settling did, or with `dry_run` would do as far as names tell. Sizes are bytes.

    `bytes_total` is what was brought, `bytes_shared` what of it takes no space of its own beside
    the store, `bytes_freed` what came back on the disk because the store had it already. `corrupt`
    are files whose bytes are not what their names say: they stay, and never enter the store.
    """

    files: int
    bytes_total: int
    bytes_shared: int
    bytes_freed: int
    skipped: tuple[Skipped, ...]
    corrupt: tuple[Skipped, ...]
    dry_run: bool


def settle(
    store: Store,
    hub: HubCache,
    repos: Iterable[Repo] | None = None,
    *,
    endpoint: str | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> Settled:
    """Settle what is unsettled of some repos, or of the whole hub.

    `endpoint` is where clients fetch from, None for the client's default: it is noted as upstream
    of what they brought. Safe beside clients, pulls and removals. Costs names and a look at each
    blob where nothing is to settle. A crash leaves each file as it was, or settled, or shared with
    the store and to be settled again. NoSpaceError where a copy or a note finds no room.
    """
    tally = _Tally(dry_run)
    referenced = store.roots.own_hub().paths()
    found = {
        repo: list(_find(store, hub, repo, referenced, tally))
        for repo in (hub.repos() if repos is None else repos)
    }
    if dry_run:
        for file, digest in (pair for pairs in found.values() for pair in pairs):
            mode = LinkMode.COPY if file.size < COPY_BELOW else LinkMode.HARDLINK
            tally.add(file, mode, _own_space(file) if store.has(digest) else 0)
        return tally.settled()
    progress = progress or Progress()
    sizes = [file.size for pairs in found.values() for file, _ in pairs]
    if sizes:
        progress.started(len(sizes), sum(sizes))
    for repo, pairs in found.items():
        _let_read(hub, repo)
        if pairs:
            digests = {digest for _, digest in pairs}
            with in_hand(store, repo, None, digests, reason="modelkeep settle"):
                settler = _Settler(store, hub, repo, endpoint, progress)
                for file, digest in pairs:
                    settler.settle(file, digest, tally)
    return tally.settled()


@dataclass(slots=True)
class _Tally:
    dry_run: bool
    files: int = 0
    bytes_total: int = 0
    bytes_shared: int = 0
    bytes_freed: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    corrupt: list[Skipped] = field(default_factory=list)

    def add(self, file: Unsettled, mode: LinkMode, freed: int) -> None:
        self.files += 1
        self.bytes_total += file.size
        if mode is not LinkMode.COPY:
            self.bytes_shared += file.size
            self.bytes_freed += freed

    def skip(self, path: Path, reason: str | None, *, corrupt: bool = False) -> None:
        (self.corrupt if corrupt else self.skipped).append(Skipped(str(path), str(reason)))

    def settled(self) -> Settled:
        return Settled(
            self.files,
            self.bytes_total,
            self.bytes_shared,
            self.bytes_freed,
            tuple(self.skipped),
            tuple(self.corrupt),
            self.dry_run,
        )


def _find(
    store: Store, hub: HubCache, repo: Repo, referenced: frozenset[str], tally: _Tally
) -> Iterator[tuple[Unsettled, Digest]]:
    """Yield what can be settled of a repo, each with its name; note what cannot."""
    try:
        with explained("looking at a repo", hub.folder(repo)):
            found = [
                *unsettled.in_blobs(store, hub, repo, referenced),
                *unsettled.in_snapshots(hub, repo),
            ]
    except ModelkeepError as error:
        tally.skip(hub.folder(repo), error.message)
        return
    for file in found:
        if file.digest is None or file.refusal:
            tally.skip(file.path, file.refusal)
        else:
            yield file, file.digest


class _Settler:
    """Settles files of one repo."""

    def __init__(
        self, store: Store, hub: HubCache, repo: Repo, endpoint: str | None, progress: Progress
    ) -> None:
        self._store = store
        self._hub = hub
        self._repo = repo
        self._progress = progress
        self._upstream = Upstream(endpoint).public
        own = store.roots.own_hub()
        self._materialiser = Materialiser(store, hub, own, OWN_HUB_RUNGS, note=progress.note)
        self._copier = Linker((LinkMode.REFLINK, LinkMode.COPY))
        self._sources, self._xet_hashes = self._known()

    def settle(self, file: Unsettled, digest: Digest, tally: _Tally) -> None:
        """Settle a file, or note why it stays as it is."""
        try:
            with explained("settling", file.path):
                self._settle(file, digest, tally)
        except FileNotFoundError:
            return  # a client or a removal took it away meanwhile
        except NoSpaceError:
            raise
        except ModelkeepError as error:
            tally.skip(file.path, error.message)

    def _settle(self, file: Unsettled, digest: Digest, tally: _Tally) -> None:
        before, own_space = file.content.lstat(), _own_space(file)
        taken = self._bring(file, digest)
        if taken.outcome is Outcome.CORRUPT:
            with suppress(ModelkeepError, OSError):  # a reader of the keep may note nothing
                badcopies.mark(self._store.layout, file.content, digest, before)
        if taken.outcome not in (Outcome.TAKEN, Outcome.HELD):
            tally.skip(file.path, taken.reason, corrupt=taken.outcome is Outcome.CORRUPT)
            return
        reach("settle:stored")
        for source in self._sources[digest]:
            self._store.describe(digest, source)
        reach("settle:described")
        if not _is_same(file.content, before):
            tally.skip(file.path, "it changed while it was settled")
        elif mode := self._place(file, digest):
            tally.add(file, mode, own_space if taken.outcome is Outcome.HELD else 0)
        else:
            tally.skip(file.path, "its content is being removed from the keep")

    def _place(self, file: Unsettled, digest: Digest) -> LinkMode | None:
        """Let the hub have the content as it has what is pulled; None where the store lost it."""
        commit, path = file.pointer or ("", file.path.name)
        wanted = TreeFile(path, file.size, digest, digest.etag)
        placement = Placement()
        if self._materialiser.place_blobs(self._repo, [wanted], placement):
            return None
        reach("settle:placed")
        if file.pointer:
            if not self._hub.snapshot(self._repo, commit).is_dir():
                raise FileNotFoundError(file.path)
            self._hub.write_snapshot(self._repo, commit, [wanted])
        self._store.mark_used(digest)
        (mode,) = placement.modes
        return mode

    def _bring(self, file: Unsettled, digest: Digest) -> Taken:
        """See that the store has the file's content, after hashing the file in any case."""
        source, xet_hash = next(iter(self._sources[digest]), None), self._xet_hashes.get(digest)
        advanced = self._progress.advanced
        taken = take(
            self._store, file.content, digest, source, xet_hash=xet_hash, progress=advanced
        )
        if taken.outcome is not Outcome.OUT_OF_REACH:
            return taken
        # Another user's, as a rule, which nobody else may link: the store gets a copy, and the hub
        # a link to that, unless the copy would then stand beside the original for good.
        if not os.access(file.path.parent, os.W_OK):
            return Taken(taken.outcome, f"{taken.reason}, and you cannot replace it")
        before = file.content.lstat()
        part = self._store.layout.tmp / durable.unique_name("settle-")
        had = self._store.is_proven(digest)
        try:
            if not had:
                require_free(part.parent, file.size, doing=f"settling `{file.path}`")
                self._copier.place(file.content, part)
                reach("settle:copied")
            hashed = file.content if had else part
            with explained("hashing", hashed):
                found, _ = hash_file(hashed, digest.algorithm, progress=advanced)
            if not _is_same(file.content, before):
                return Taken(Outcome.CHANGED, "it changed while it was hashed")
            if found != digest:
                return Taken(Outcome.CORRUPT, f"its bytes are {found}", found)
            if had or not self._store.publish(
                part, digest, source=source, xet_hash=xet_hash, verified=True
            ):
                return Taken(Outcome.HELD)
            return Taken(Outcome.TAKEN)
        finally:
            durable.remove(part)

    def _known(self) -> tuple[defaultdict[Digest, list[Source]], dict[Digest, str]]:
        """Return where contents came from, and their Xet names, as snapshots and notes tell."""
        sources: defaultdict[Digest, list[Source]] = defaultdict(list)
        xet_hashes: dict[Digest, str] = {}
        for commit in self._hub.commits(self._repo):
            noted = {file.path: file for file in self._hub.tree(self._repo, commit) or ()}
            held = {path: file.digest for path, file in noted.items()}
            for path, name in self._hub.pointers(self._repo, commit).items():
                if digest := Digest.from_etag(name):
                    held[path] = digest
            origin = provenance.source_of(self._store, self._repo, commit, held.values())
            upstream = None if origin == provenance.LOCAL else self._upstream
            for path, digest in held.items():
                sources[digest].append(Source(str(self._repo), commit, path, upstream))
            xet_hashes |= {file.digest: file.xet_hash for file in noted.values() if file.xet_hash}
        return sources, xet_hashes


def _let_read(hub: HubCache, repo: Repo) -> None:
    """Let all who read the hub read what its commits should hold; clients note it privately."""
    with suppress(AccessError, PermissionError):
        hub.refuse_planted(repo)
        for note in (hub.folder(repo) / "trees").glob("*.json"):
            with suppress(OSError):  # another user's
                if note.lstat().st_mode & _READABLE != _READABLE:
                    sharing.let_read(note)


def _own_space(file: Unsettled) -> int:
    """Return what the disk gets back when this name is replaced."""
    try:
        status = file.path.lstat()
    except FileNotFoundError:
        return 0
    return freed_by(status) if file.path == file.content else 0


def _is_same(path: Path, before: os.stat_result) -> bool:
    """Tell whether nobody has written to a file, or replaced it."""
    return identity(path.lstat()) == identity(before)
