"""Checks blobs against their names, offline: the name is the checksum."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs.oserrors import explained
from modelkeep.store import meta as metas
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.meta import Meta
from modelkeep.store.store import Store
from modelkeep.times import utc_now


@dataclass(frozen=True, slots=True)
class Copy:
    """A file outside the store that should have a content of `size` bytes, and whose it is."""

    digest: Digest
    path: Path
    size: int
    user: str


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A file whose bytes are not what its name says; `found` is the digest they have."""

    digest: Digest
    path: str
    repos: tuple[str, ...]
    found: Digest


@dataclass(frozen=True, slots=True)
class Unverifiable:
    """A file that could not be checked, and why; `digest` is None where its name tells none."""

    digest: Digest | None
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Missing:
    digest: Digest


@dataclass(frozen=True, slots=True)
class _Repaired:
    digest: Digest


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Outcome of a verification. `bytes` counts what was hashed; `seconds` is wall time.

    `repaired` are good now and were found bad before.
    """

    files: int
    bytes: int
    seconds: float
    corrupt: tuple[Corrupt, ...]
    missing: tuple[Digest, ...]
    repaired: tuple[Digest, ...]
    unverifiable: tuple[Unverifiable, ...]

    @property
    def ok(self) -> bool:
        """True when everything asked for is here and good."""
        return not (self.corrupt or self.missing or self.unverifiable)


def verify(
    store: Store,
    digests: Iterable[Digest],
    *,
    copies: Iterable[Copy] = (),
    missing: Iterable[Digest] = (),
    unverifiable: Iterable[Unverifiable] = (),
    users: Callable[[Digest], tuple[str, ...]] | None = None,
    jobs: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> VerifyReport:
    """Hash blobs, and copies of them, in parallel and compare them with their names.

    The result is written to each side file where the caller may write: a bad blob is marked at
    once, so that nothing new links it. `missing` and `unverifiable` are what was known before.
    `users` tells which repos use a blob; without it, those it came from are named. `progress` is
    called from several threads with byte counts.
    """
    started = time.monotonic()

    def check(item: Digest | Copy) -> tuple[_Finding, int]:
        if isinstance(item, Copy):
            return _check_copy(item, progress)
        return _check(store, item, users, progress)

    items: list[Digest | Copy] = [*digests, *copies]
    with ThreadPoolExecutor(jobs or _cores()) as pool:
        results = list(pool.map(check, items))
    gone = {found.digest for found, _ in results if isinstance(found, _Missing)}
    unread = tuple(found for found, _ in results if isinstance(found, Unverifiable))
    return VerifyReport(
        files=len(results),
        bytes=sum(size for _, size in results),
        seconds=time.monotonic() - started,
        corrupt=tuple(found for found, _ in results if isinstance(found, Corrupt)),
        missing=tuple(sorted(gone.union(missing))),
        repaired=tuple(found.digest for found, _ in results if isinstance(found, _Repaired)),
        unverifiable=(*unread, *unverifiable),
    )


def _cores() -> int:
    """Return how many cores this process may use; macOS tells only how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_Finding = Corrupt | Unverifiable | _Missing | _Repaired | None


def _check(
    store: Store,
    digest: Digest,
    users: Callable[[Digest], tuple[str, ...]] | None,
    progress: Callable[[int], None] | None,
) -> tuple[_Finding, int]:
    path = store.path(digest)
    try:
        with explained("reading", path):
            status = path.stat()
            found, size = hash_file(path, digest.algorithm, progress=progress)
    except FileNotFoundError:
        return _Missing(digest), 0
    except ModelkeepError as error:
        return Unverifiable(digest, str(path), error.message), 0
    side, now = store.layout.meta(digest), utc_now()
    old = metas.read(side) or Meta.of(status, now=now)
    bad = found != digest
    meta = replace(old, bad_since=old.bad_since or now) if bad else old.hashed(status, now=now)
    with suppress(ModelkeepError):  # a reader without write access still gets the answer
        metas.write(side, meta)
    if not bad:
        return _Repaired(digest) if old.bad_since else None, size
    repos = users(digest) if users else tuple(sorted({source.repo for source in meta.sources}))
    return Corrupt(digest, str(path), repos, found), size


def _check_copy(copy: Copy, progress: Callable[[int], None] | None) -> tuple[_Finding, int]:
    try:
        with explained("reading", copy.path):
            found, size = hash_file(copy.path, copy.digest.algorithm, progress=progress)
    except FileNotFoundError:
        return None, 0  # removed meanwhile
    except ModelkeepError as error:
        return Unverifiable(copy.digest, str(copy.path), error.message), 0
    if found == copy.digest:
        return None, size
    return Corrupt(copy.digest, str(copy.path), (copy.user,), found), size
