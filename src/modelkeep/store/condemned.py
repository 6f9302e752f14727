"""How one blob leaves the store while others may be about to use it.

A collector *condemns, checks, then deletes*; a consumer *refers, waits out the mark, then looks*.
Whichever of the two comes second sees what the first has done, so no lock is needed. The steps of
the collector: create the mark with a nonce → look for references, leases and links → the mark is
still ours → move the blob to the trash → look again, and put it back if somebody linked it
meanwhile → unlink → remove the mark. A crash leaves the blob, or the trash entry, or a mark that
consumers outlive.
"""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.fs.clock import now_ns
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import allocated_bytes
from modelkeep.fs.syncpoint import reach
from modelkeep.store import meta as metas
from modelkeep.store.digest import Digest
from modelkeep.store.roots import ReferenceIndex
from modelkeep.store.store import Store

# A live collector holds a mark for milliseconds; one that is older belongs to a dead or stopped
# collector, which will find its nonce gone.
_MARK_LIFETIME_S = 10.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Released:
    """What became of a blob: bytes given back to the file system, or why it stays."""

    digest: Digest
    bytes_freed: int
    kept: str | None


def wait_out(store: Store, digest: Digest) -> None:
    """Wait until no collector is working on a blob. Call between referring to it and using it."""
    mark = store.layout.condemned(digest)
    started = time.monotonic()
    while mark.exists():
        # By a clock of ours too: one that was set back may have left a mark from the future.
        if time.monotonic() - started > _MARK_LIFETIME_S or _is_outlived(store, mark):
            with suppress(ModelkeepError):  # a reader may not remove it and need not
                durable.remove(mark)
            return
        time.sleep(_POLL_S)


def release(store: Store, digest: Digest, references: ReferenceIndex) -> Released:
    """Delete a blob unless anything uses it. Safe beside any number of consumers and collectors."""
    blob, mark = store.layout.blob(digest), store.layout.condemned(digest)
    if reason := _in_use(store, digest, references, blob):
        return Released(digest, 0, reason)
    nonce = uuid.uuid4().hex.encode()
    if not _set_mark(mark, nonce):
        wait_out(store, digest)
        if not _set_mark(mark, nonce):
            return Released(digest, 0, "another collector is working on it")
    reach("release:condemned")
    try:
        references.refresh()
        if reason := _in_use(store, digest, references, blob):
            return Released(digest, 0, reason)
        if not _is_ours(mark, nonce):
            return Released(digest, 0, "the collector was stopped for too long")
        return _take_away(store, digest, references, blob)
    finally:
        if _is_ours(mark, nonce):
            durable.remove(mark)


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


def _is_outlived(store: Store, mark: Path) -> bool:
    try:
        set_at = mark.stat().st_mtime_ns
        return now_ns(store.layout.tmp) - set_at > _MARK_LIFETIME_S * 1e9
    except (FileNotFoundError, ModelkeepError):
        return False


def _set_mark(mark: Path, nonce: bytes) -> bool:
    with explained("condemning a blob", mark):
        try:
            descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, nonce)
        finally:
            os.close(descriptor)
    return True


def _is_ours(mark: Path, nonce: bytes) -> bool:
    try:
        return mark.read_bytes() == nonce
    except OSError:
        return False
