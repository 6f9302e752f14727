"""Finds files that should have a given content, on this machine and in a place somebody names.

A name or a size makes a file a candidate, no more: whoever uses one copies it and hashes the copy.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from modelkeep.errors import ModelkeepError, NoSpaceError, NotFoundError
from modelkeep.fs import durable, streaming
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import require_free
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.cache import HubCache
from modelkeep.hub.progress import Progress
from modelkeep.hub.repair import checks
from modelkeep.store.digest import Digest, Hasher
from modelkeep.store.store import Store

_BLOCK = 1 << 20


class Replacements:
    """Where good bytes may be: caches on this machine, the store, and `place`.

    `place` is a file, or a folder with anything in it: a cache, a keep, or files under other names,
    which are told by their size. NotFoundError where it holds no file at all.
    """

    def __init__(
        self,
        store: Store | None,
        caches: Iterable[HubCache],
        place: Path | None = None,
        *,
        progress: Progress | None = None,
    ) -> None:
        self._progress = progress or Progress()
        self._store = store
        self._caches = list(caches)
        self._named: defaultdict[Digest, list[Path]] = defaultdict(list)
        self._sized: defaultdict[int, list[Path]] = defaultdict(list)
        self._used: dict[Digest, list[Path]] | None = None
        self._hashed: dict[tuple[Path, str], Digest] = {}
        if place is not None:
            self._index(place)

    def bring(self, digest: Digest, size: int | None, part: Path, *, besides: Path) -> Path | None:
        """Write the content to the new file `part`; return where it came from, None for nowhere.

        `size` is what it should be, None where that is not known; `besides` is the damaged file.
        `part` is verified, but neither sealed nor synced. NoSpaceError, and no `part`, where there
        is no room.
        """
        seen = [_inode(besides)]
        for path in self._candidates(digest, size):
            inode = _inode(path)
            if inode is None or inode in seen:
                continue
            seen.append(inode)
            with suppress(FileNotFoundError):
                if self._copy(path, digest, size, part):
                    return path
        return None

    def _candidates(self, digest: Digest, size: int | None) -> Iterator[Path]:
        if self._store is not None:
            yield self._store.path(digest)
        for cache in self._caches:
            with suppress(ModelkeepError):
                for repo in cache.repos():
                    yield cache.directory / cache.blob_name(repo, digest)
        if self._used is None:
            self._used = self._in_roots()
        yield from self._used.get(digest, ())
        yield from self._named.get(digest, ())
        sizes = self._sized if size is None else (size,)
        for one in sizes:
            yield from self._sized.get(one, ())

    def _in_roots(self) -> dict[Digest, list[Path]]:
        """Return where the registered caches say they have contents."""
        used: defaultdict[Digest, list[Path]] = defaultdict(list)
        for root in self._store.roots if self._store is not None else ():
            with suppress(ModelkeepError):
                for digest, path in checks.used_in(root):
                    used[digest].append(path)
        return used

    def _copy(self, path: Path, digest: Digest, size: int | None, part: Path) -> bool:
        """Copy a file and hash what was copied; False, and no copy, for other bytes."""
        if self._hashed.get((path, digest.algorithm), digest) != digest:
            return False
        try:
            with explained("copying", path), streaming.opened(path, follow=True) as source:
                there = os.fstat(source).st_size
                if size is not None and there != size:
                    return False
                require_free(part.parent, there, doing="a repair")
                self._progress.started(1, there)
                advanced = self._progress.advanced
                found = _copy_hashed(source, there, part, digest.algorithm, advanced)
        except BaseException as error:
            durable.remove(part)
            if isinstance(error, ModelkeepError) and not isinstance(error, NoSpaceError):
                return False  # another candidate may be readable
            raise
        self._hashed[path, digest.algorithm] = found
        if found != digest:
            durable.remove(part)
        reach("repair:copied")
        return found == digest

    def _index(self, place: Path) -> None:
        with explained("looking for replacements", place):
            if not place.exists():
                raise NotFoundError(f"`{place}` is not there", path=place)
            files = [place] if place.is_file() else _files(place)
            for path in files:
                with suppress(OSError):
                    status = path.stat()
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    digest = Digest.from_etag(path.name)
                    if digest is not None:
                        self._named[digest].append(path)
                    else:
                        self._sized[status.st_size].append(path)
        if not self._named and not self._sized:
            raise NotFoundError(f"`{place}` holds no file", path=place)


def _files(place: Path) -> Iterator[Path]:
    for base, _, names in os.walk(place):
        yield from (Path(base, name) for name in names)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _copy_hashed(
    source: int, size: int, part: Path, algorithm: str, advanced: Callable[[int], None]
) -> Digest:
    hasher = Hasher(algorithm, size)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    target = os.open(part, flags, 0o600)
    try:
        while data := os.read(source, _BLOCK):
            hasher.update(data)
            durable.write_all(target, data)
            advanced(len(data))
    finally:
        os.close(target)
    return hasher.digest()
