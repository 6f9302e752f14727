"""How one blob leaves the store while others may be about to use it.

A collector *condemns, checks, then deletes*; a consumer *refers, waits out the mark, then looks*.
Whichever of the two comes second sees what the first has done, so no lock is needed. The steps of
the collector: create the mark with a nonce → look for leases, references and links → the mark is
still ours → move the blob to the trash → look again, and put it back if somebody linked it
meanwhile → unlink → remove the mark. A crash leaves the blob, or the trash entry, or a mark that
consumers outlive.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelkeep.fs import durable
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import allocated_bytes
from modelkeep.fs.syncpoint import reach
from modelkeep.store import meta as metas
from modelkeep.store.digest import Digest
from modelkeep.store.marks import condemned
from modelkeep.store.roots import ReferenceIndex
from modelkeep.store.store import Store


@dataclass(frozen=True, slots=True)
class Released:
    """What became of a blob: bytes given back to the file system, or why it stays."""

    digest: Digest
    bytes_freed: int
    kept: str | None


def release(store: Store, digest: Digest, references: ReferenceIndex) -> Released:
    """Delete a blob unless anything uses it. Safe beside any number of consumers and collectors."""
    blob = store.layout.blob(digest)
    if blob.parent.is_symlink():
        return Released(digest, 0, "its folder is a link to another place")
    if reason := _in_use(store, digest, references, blob):
        return Released(digest, 0, reason)
    with condemned(store.layout, digest) as mark:
        if mark is None:
            return Released(digest, 0, "another collector is working on it")
        reach("release:condemned")
        references.refresh()
        if reason := _in_use(store, digest, references, blob):
            return Released(digest, 0, reason)
        if not mark.holds():
            return Released(digest, 0, "the collector was stopped for too long")
        return _take_away(store, digest, references, blob)


def _take_away(store: Store, digest: Digest, references: ReferenceIndex, blob: Path) -> Released:
    trashed = store.layout.trash / f"{durable.unique_name()}-{digest.file_name}"
    with explained("moving to the trash", blob):
        try:
            blob.rename(trashed)
        except FileNotFoundError:
            return Released(digest, 0, "it is gone already")
    reach("release:trashed")
    try:
        references.refresh()
        reason = _in_use(store, digest, references, trashed)
    except BaseException:
        durable.publish(trashed, blob)
        raise
    if reason:
        durable.publish(trashed, blob)
        return Released(digest, 0, reason)
    status = trashed.stat()
    side = metas.read(store.layout.meta(digest))
    # The side file of somebody who published the same content anew just now is his.
    if side is None or side.inode == status.st_ino:
        durable.remove(store.layout.meta(digest))
        durable.remove(store.layout.used(digest))
    reach("release:forgotten")
    durable.remove(trashed)
    reach("release:unlinked")
    return Released(digest, allocated_bytes(status), None)


def _in_use(store: Store, digest: Digest, references: ReferenceIndex, blob: Path) -> str | None:
    if reference := references.alive(digest, blob):
        return f"used by {reference.file.parent}"
    if reason := store.leases.protects(digest):
        return reason
    try:
        with explained("looking at a blob", blob):
            links = blob.stat().st_nlink
    except FileNotFoundError:
        return "it is gone already"
    return f"linked from {links - 1} other place(s)" if links > 1 else None
