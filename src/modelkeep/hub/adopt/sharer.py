"""Lets single files of a cache share their space with the store, one content after another.

New content: the store takes over the cache's own inode. Content that the store has: the cache's
file is replaced by a link to the store's, by one rename, so that its path never stops resolving.
Nothing is ever copied to where it takes more space than before but small files, which people edit:
of those the store gets a copy, and the cache keeps its own.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import CorruptError, ModelkeepError, NoSpaceError
from modelkeep.fs import durable, oserrors
from modelkeep.fs.cores import cores
from modelkeep.fs.extents import extents
from modelkeep.fs.links import COPY_BELOW, Linker, LinkMode
from modelkeep.fs.oserrors import explained
from modelkeep.fs.sameness import identity
from modelkeep.fs.space import allocated_bytes
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.adopt.inventory import Found
from modelkeep.hub.adopt.scratch import built, opened
from modelkeep.hub.progress import Progress
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.marks import wait_out
from modelkeep.store.meta import Source
from modelkeep.store.scrub import StoppedError
from modelkeep.store.store import Store
from modelkeep.store.taking import Outcome, take

CACHE_RUNGS = (LinkMode.HARDLINK, LinkMode.REFLINK)
PLAIN_RUNGS = (LinkMode.REFLINK,)
"""In a plain folder programs overwrite files in place: it never gets an inode of the store."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file. Bytes are space on the disk.

    `held`: the store has this content, and where that was asked for the file's own bytes were found
    to be it. `shared`: they take no space twice. `changed`: something on the disk is not as before.
    """

    found: Found
    held: bool = False
    shared: bool = False
    changed: bool = False
    freed: int = 0
    copied: int = 0
    reason: str | None = None
    corrupt: bool = False


class Sharer:
    """Shares files of one cache. `keep_apart`: their copies of what the store has stay as they are.

    With it every file is hashed that does not share the store's inode, for its content is going to
    be used instead of it.
    """

    def __init__(
        self,
        store: Store,
        directory: Path,
        upstream: str | None,
        progress: Progress,
        *,
        rungs: Sequence[LinkMode] = CACHE_RUNGS,
        keep_apart: bool = False,
    ) -> None:
        self._store = store
        self._directory = directory
        self._upstream = upstream
        self._progress = progress
        self._linker = Linker(rungs)
        self._rungs = rungs
        self._keep_apart = keep_apart
        self._stop = threading.Event()

    def share(self, files: Iterable[Found]) -> list[Result]:
        """Share files, several at once, all files of one content after each other."""
        by_digest: dict[Digest, list[Found]] = {}
        for found in files:
            by_digest.setdefault(found.digest, []).append(found)
        pool = ThreadPoolExecutor(cores())
        try:
            return [
                result for part in pool.map(self._content, by_digest.values()) for result in part
            ]
        except BaseException:
            self._stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _content(self, files: list[Found]) -> list[Result]:
        results = []
        for found in files:
            try:
                results.append(self._one(found))
            except NoSpaceError:
                raise
            except FileNotFoundError:
                results.append(Result(found, reason="it was removed meanwhile"))
            except CorruptError as error:
                plain = LinkMode.HARDLINK not in self._rungs
                results.append(edited(found) if plain else corrupt(found, error.got))
            except ModelkeepError as error:
                results.append(Result(found, reason=error.message))
            reach("adopt:shared")
        return results

    def _one(self, found: Found) -> Result:
        path, blob = self._directory / found.path, self._store.path(found.digest)
        with explained("looking at", path):
            now = path.lstat()
        if not is_unchanged(found, now):
            return Result(found, reason="it changed meanwhile")
        wait_out(self._store.layout, found.digest)
        if durable.is_inode(blob, now) or (not self._keep_apart and is_clone(path, blob)):
            self._describe(found)
            return Result(found, held=True, shared=True)
        if found.status.st_size < COPY_BELOW:
            return self._small(found, path)
        if LinkMode.HARDLINK not in self._rungs:
            return self._clone(found, path, blob)
        if not self._keep_apart and (why := self._out_of_reach(blob)):
            return Result(found, reason=why)
        taken = take(
            self._store,
            path,
            found.digest,
            _first(self._sources(found)),
            xet_hash=found.xet_hash,
            progress=self._advanced,
        )
        if taken.outcome not in (Outcome.TAKEN, Outcome.HELD):
            if taken.found is not None:
                return corrupt(found, str(taken.found))
            return Result(found, reason=taken.reason)
        self._describe(found)
        if durable.is_inode(blob, path.lstat()):
            return Result(found, held=True, shared=True, changed=True)
        if self._keep_apart and self._out_of_reach(blob):
            return Result(found, held=True)
        return self._replace(found, path, blob)

    def _replace(self, found: Found, path: Path, blob: Path) -> Result:
        """Let a file whose bytes were found good be a link to the store's."""
        now = path.lstat()
        if not is_unchanged(found, now):
            return Result(found, reason="it changed meanwhile")
        freed = allocated_bytes(now) if now.st_nlink == 1 else 0
        mode = stat.S_IMODE(now.st_mode)
        with built(self._store, self._linker, blob, mode=mode) as (scratch, placed):
            if placed.mode is LinkMode.COPY:  # overlayfs: what comes from an image it copies up
                return Result(found, held=True, reason=placed.reason)
            with explained("replacing a file by a link", path):
                if placed.mode is LinkMode.REFLINK:
                    with opened(scratch) as descriptor:
                        os.fchown(descriptor, now.st_uid, now.st_gid)
                        # Clients tell by a file's time in a plain folder whether it was edited.
                        os.utime(descriptor, ns=(now.st_atime_ns, now.st_mtime_ns))
                durable.rename(scratch, path)
        durable.sync_dir(path.parent)
        return Result(found, held=True, shared=True, changed=True, freed=freed)

    def _small(self, found: Found, path: Path) -> Result:
        if self._store.is_proven(found.digest):
            if self._keep_apart:
                with explained("hashing", path):
                    got, _ = hash_file(path, found.digest.algorithm, progress=self._advanced)
                if got != found.digest:
                    return corrupt(found, str(got))
            self._describe(found)
            return Result(found, held=True)
        return self._copy(found, path, (LinkMode.REFLINK, LinkMode.COPY))

    def _clone(self, found: Found, path: Path, blob: Path) -> Result:
        """Share blocks, not inodes, with a file that programs may overwrite in place."""
        if not self._store.is_proven(found.digest):
            return self._copy(found, path, PLAIN_RUNGS)
        if not self._store.capabilities.reflink:
            return Result(
                found,
                reason="a file that is edited in place can only be cloned, and"
                " this file system cannot",
            )
        with explained("hashing", path):
            got, _ = hash_file(path, found.digest.algorithm, progress=self._advanced)
        if got != found.digest:
            return edited(found)
        return self._replace(found, path, blob)

    def _copy(self, found: Found, path: Path, rungs: Sequence[LinkMode]) -> Result:
        """Bring a copy or a clone into the store, and leave the file as it is."""
        linker = Linker(rungs, copy_below=COPY_BELOW if LinkMode.COPY in rungs else 0)
        with built(self._store, linker, path) as (part, placed):
            status = part.stat()
            source = _first(self._sources(found))
            new = self._store.publish(part, found.digest, source=source)
        self._advanced(found.status.st_size)
        self._describe(found)
        cloned = placed.mode is LinkMode.REFLINK
        copied = 0 if cloned or not new else allocated_bytes(status)
        return Result(found, held=True, shared=cloned, changed=new, copied=copied)

    def _out_of_reach(self, blob: Path) -> str | None:
        """Tell why nothing can share the inode the store has of a content; None where it can."""
        if self._store.capabilities.reflink:
            return None
        trial = self._store.layout.tmp / durable.unique_name("adopt-")
        try:
            os.link(blob, trial)
        except FileNotFoundError:
            return None  # not there: the file itself will be taken
        except OSError as error:
            owner = blob.stat().st_uid
            if oserrors.is_capability(error) and owner != os.geteuid():
                return (
                    f"the keep has it from uid {owner}, whose files you may not link;"
                    " adopt --merge shares it"
                )
            return f"{oserrors.name(error)}: no hard link to `{blob}`"
        finally:
            with suppress(FileNotFoundError):
                trial.unlink()
        return None

    def _sources(self, found: Found) -> list[Source]:
        return [Source(str(use.repo), use.commit, use.path, self._upstream) for use in found.uses]

    def _describe(self, found: Found) -> None:
        sources: list[Source | None] = [*self._sources(found)]
        for source in sources or [None]:
            self._store.describe(found.digest, source)

    def _advanced(self, count: int) -> None:
        if self._stop.is_set():
            raise StoppedError
        self._progress.advanced(count)


def is_unchanged(found: Found, now: os.stat_result) -> bool:
    """Tell whether a file is the inode that was found, with the bytes it had."""
    return identity(now) == identity(found.status)


def is_clone(path: Path, blob: Path) -> bool:
    """Tell whether two files of at least 1 MiB have the same blocks of the disk."""
    try:
        size = blob.stat().st_size
        if size < COPY_BELOW or path.stat().st_size != size:
            return False
        mine = extents(path)
        return bool(mine) and mine == extents(blob)
    except OSError:
        return False


def corrupt(found: Found, got: str) -> Result:
    """Return the result for a file whose bytes are not what its name says, and what to type."""
    why = f"its bytes are {got}"
    if found.uses:
        why += f"; get it anew: modelkeep pull {found.uses[0].repo}@{found.uses[0].commit}"
    return Result(found, reason=why, corrupt=True)


def edited(found: Found) -> Result:
    """Return the result for a file of a plain folder that is not what was downloaded."""
    return Result(found, reason="it was edited since it was downloaded; left as it is")


def _first(sources: list[Source]) -> Source | None:
    return sources[0] if sources else None
