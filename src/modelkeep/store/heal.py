"""Repairs a damaged blob in its own inode, so that every cache that shares it heals at once.

The steps: mark the blob bad → keep the bad bytes in the trash → write the good bytes over them →
sync → seal → hash → note that it is good. The mark stands from before the first byte changes until
all are right, so a crash leaves a blob that is known to be bad, and the next healing completes it.
Nothing is cut off before everything is written: two healers at once write the same bytes to the
same places, and neither undoes what the other has done.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from modelkeep.errors import AccessError, CorruptError, ModelkeepError, NoSpaceError
from modelkeep.fs import copying, durable, oserrors
from modelkeep.fs.links import Linker, LinkMode
from modelkeep.fs.locks import hold
from modelkeep.fs.oserrors import explained
from modelkeep.fs.syncpoint import reach
from modelkeep.store import meta as metas
from modelkeep.store.digest import Digest, require_digest
from modelkeep.store.layout import StoreLayout
from modelkeep.store.meta import Meta
from modelkeep.times import utc_now

_WRITABLE = 0o644


class Healed(StrEnum):
    """How a blob was repaired."""

    REWRITTEN = "rewritten"
    """In its inode: whatever shares it is good again, too."""
    REPLACED = "replaced"
    """By another inode, for the old one could not be written; other links keep the bad bytes."""
    BY_OTHERS = "by_others"


def heal(layout: StoreLayout, digest: Digest, part: Path) -> Healed:
    """Give a damaged blob the bytes of `part`, a verified file in the store, which is then gone.

    FileNotFoundError where a collector has taken the blob away. On an error `part` is kept, and the
    blob stays marked bad.
    """
    blob = layout.blob(digest)
    with healing(layout, digest):
        if _is_good(blob, digest):
            how = Healed.BY_OTHERS
        else:
            mark(layout, digest)
            keep_bad_bytes(layout, digest, blob)
            reach("heal:marked")
            how = _write(blob, digest, part)
        status = blob.stat()
        now = utc_now()
        old = metas.read(layout.meta(digest)) or Meta.of(status, now=now)
        metas.write(layout.meta(digest), old.hashed(status, now=now))
        reach("heal:noted")
    durable.remove(part)
    return how


def healing(layout: StoreLayout, digest: Digest) -> AbstractContextManager[bool]:
    """Return the lock under which one blob is healed: while one has it, others save the work."""
    return hold(layout.locks / f"heal-{digest.file_name}")


def mark(layout: StoreLayout, digest: Digest) -> Meta:
    """Note durably that a blob is bad, so that nothing new uses it; return its side file."""
    now = utc_now()
    old = metas.read(layout.meta(digest))
    if old is None:
        old = Meta.of_bad(layout.blob(digest).lstat(), now=now)
    elif old.bad_since is None:
        old = replace(old, bad_since=now)
    else:
        return old
    metas.write(layout.meta(digest), old)
    return old


def _is_good(blob: Path, digest: Digest) -> bool:
    try:
        require_digest(blob, digest)
    except ModelkeepError:
        return False
    return True


def keep_bad_bytes(layout: StoreLayout, digest: Digest, path: Path) -> Path | None:
    """Put a copy of a damaged file into the trash, for its maker and root alone to look at.

    Returns the copy. The file may lie in a private cache, and many can reach the trash of a group.
    NoSpaceError where there is no room; what a failing disk no longer gives back is not kept.
    """
    kept = layout.trash / f"{durable.unique_name()}-{digest.file_name}"
    try:
        Linker((LinkMode.REFLINK, LinkMode.COPY)).place(path, kept, mode=0o400)
    except NoSpaceError:
        raise
    except ModelkeepError:
        return None
    return kept


def _write(blob: Path, digest: Digest, part: Path) -> Healed:
    try:
        _rewrite(blob, part)
        require_digest(blob, digest)
    except ModelkeepError as error:
        if not isinstance(error, AccessError | CorruptError) and not oserrors.is_lost(error):
            raise
        # Another user's inode, or blocks that do not keep what is written to them.
        with explained("replacing a damaged blob", blob):
            durable.rename(part, blob)
        durable.sync_dir(blob.parent)
        reach("heal:replaced")
        return Healed.REPLACED
    return Healed.REWRITTEN


def _rewrite(blob: Path, part: Path) -> None:
    with explained("repairing a damaged blob", blob):
        source = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
        try:
            target = _open_sealed(blob)
            try:
                size = os.fstat(source).st_size
                copying.copy(source, target, size, progress=lambda _: reach("heal:rewriting"))
                os.ftruncate(target, size)
                durable.seal(target)
            finally:
                os.close(target)
        finally:
            os.close(source)
    reach("heal:rewritten")


def _open_sealed(blob: Path) -> int:
    """Open a sealed file for writing; to everybody else it stays sealed but for a moment."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    reading = os.open(blob, os.O_RDONLY | flags)
    try:
        durable.set_mode(reading, _WRITABLE)
        try:
            return os.open(blob, os.O_WRONLY | flags)
        finally:
            durable.set_mode(reading, 0o444)
    finally:
        os.close(reading)
