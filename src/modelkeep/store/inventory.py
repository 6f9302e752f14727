"""Reads what a store holds, and what nothing needs any more, in one pass and as plain data.

A collection of a hundred thousand blobs has to be planned while a person waits, so every folder is
read once, references are read once, and only what may be garbage is looked at more closely. Links
in the place of the store's own folders are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from modelkeep.errors import ModelkeepError
from modelkeep.fs.clock import now_ns
from modelkeep.fs.mounts import is_shared
from modelkeep.fs.space import allocated_bytes
from modelkeep.store import meta as metas
from modelkeep.store import sweep
from modelkeep.store.digest import GIT_SHA1, SHA256, Digest, is_etag
from modelkeep.store.leases import Held
from modelkeep.store.roots import OWN_HUB, Reference
from modelkeep.store.store import Store, sharded
from modelkeep.store.sweep import DAY_NS, Leftover

_SHARED_GRACE_NS = 7 * DAY_NS


class StoredBlob(NamedTuple):
    """A blob's inode: bytes on the disk, names it has, its number, its last change."""

    bytes: int
    links: int
    inode: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Unused:
    """A blob that no living reference and no other link holds.

    `idle_ns` is when it was last used, linked or unlinked, by the file system's clock. `origin` are
    the repos it came from, `fetchable` tells whether an upstream is known that has it.
    """

    digest: Digest
    bytes: int
    idle_ns: int
    last_used: float | None
    origin: tuple[str, ...]
    fetchable: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """A store at one moment. `blobs` is by etag; times are of the file system's clock.

    `unread` names the roots whose references could not be read: they may use any blob.
    """

    now_ns: int
    grace_ns: int
    blobs: Mapping[str, StoredBlob]
    unused: tuple[Unused, ...]
    leftovers: tuple[Leftover, ...]
    held: Held
    unread: tuple[str, ...]


def take(store: Store) -> Inventory:
    """Read a store. Changes nothing, and is safe beside anything."""
    blobs = dict(_blobs(store))
    single = {digest_text(name): blob for name, blob in blobs.items() if blob.links == 1}
    alive, unread = referred(store, single)
    unused = tuple(
        _unused(store, {text: blob for text, blob in single.items() if text not in alive})
    )
    layout = store.layout
    return Inventory(
        # Read last: whatever was changed since then is not older than this.
        now_ns=now_ns(layout.tmp),
        grace_ns=_SHARED_GRACE_NS if is_shared(store.capabilities.fs_type) else DAY_NS,
        blobs=blobs,
        unused=unused,
        leftovers=(
            *sweep.temporary(layout),
            *sweep.partials(layout),
            *sweep.trashed(layout),
            *sweep.marks(layout),
            *_orphans(store, blobs),
        ),
        held=store.leases.look(),
        unread=tuple(unread),
    )


def _blobs(store: Store) -> Iterator[tuple[str, StoredBlob]]:
    for algorithm, length in ((SHA256, 64), (GIT_SHA1, 40)):
        for shard, entry in sharded(store.layout.blobs / algorithm):
            name = entry.name
            if len(name) != length or name[:2] != shard or not is_etag(name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # another collector was quicker
            if entry.is_file(follow_symlinks=False):
                yield (
                    name,
                    StoredBlob(
                        allocated_bytes(status), status.st_nlink, status.st_ino, status.st_ctime_ns
                    ),
                )


def referred(
    store: Store, wanted: Container[str], *, besides: str | None = None
) -> tuple[set[str], list[str]]:
    """Return which of some digests, given as text, living references of roots are to.

    The root `besides` does not count. The second list names the roots that could not be read.
    """
    alive = set[str]()
    unread = []
    for root in store.roots:
        if root.id == besides:
            continue
        try:
            uses = list(root.uses(wanted))
        except ModelkeepError:
            unread.append(str(root.directory))
            continue
        top = f"{root.directory}/"
        for text, path in uses:
            if text in alive:
                continue
            if root.id == OWN_HUB:
                # What `Reference.is_alive` says of the keep's own hub, for thousands.
                if _may_exist(top + path):
                    alive.add(text)
            else:
                digest = Digest.parse(text)
                if Reference(digest, root, path).is_alive(store.layout.blob(digest)):
                    alive.add(text)
    return alive, unread


def _unused(store: Store, candidates: Mapping[str, StoredBlob]) -> Iterator[Unused]:
    for text, blob in candidates.items():
        digest = Digest.parse(text)
        used = store.last_used(digest)
        meta = metas.read(store.layout.meta_name(digest))
        sources = meta.sources if meta else ()
        yield Unused(
            digest=digest,
            bytes=blob.bytes,
            idle_ns=max(blob.changed_ns, int((used or 0) * 1e9)),
            last_used=used,
            origin=tuple(sorted({source.repo for source in sources})),
            fetchable=any(source.upstream for source in sources),
        )


def digest_text(etag: str) -> str:
    """Return a digest as text, of an etag that is one."""
    return f"{SHA256 if len(etag) == 64 else GIT_SHA1}:{etag}"


def _may_exist(path: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _orphans(store: Store, blobs: Mapping[str, StoredBlob]) -> Iterator[Leftover]:
    """Yield the side files whose blob is gone, and what was left while one was written."""
    layout = store.layout
    for _, entry in chain(sharded(layout.metas), sharded(layout.uses)):
        if entry.name.removesuffix(".json").rpartition("-")[2] not in blobs:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Leftover(
                kind="side file",
                path=Path(entry.path),
                bytes=allocated_bytes(status),
                changed_ns=status.st_ctime_ns,
                lifetime_ns=DAY_NS,
                reason="its blob is gone",
            )
