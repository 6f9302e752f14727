"""Takes a file that stands elsewhere into the store by its own inode, and says what came of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from modelkeep.fs import durable, oserrors, streaming
from modelkeep.fs.oserrors import explained
from modelkeep.fs.sameness import identity
from modelkeep.fs.syncpoint import reach
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.meta import Source

if TYPE_CHECKING:
    from modelkeep.store.store import Store


class Outcome(StrEnum):
    """What became of a file that was offered to the store."""

    TAKEN = "taken"
    """The store has the content now, and had not before."""
    HELD = "held"
    """The bytes are right, and the store has them already, read and right; it is as it was."""
    CORRUPT = "corrupt"
    CHANGED = "changed"
    """Somebody wrote to it, or removed it, while it was hashed."""
    OUT_OF_REACH = "out_of_reach"
    """It cannot be linked into the store: another user's, another file system, no regular file."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome, the reason for a person where it is a refusal, the digest of corrupt bytes."""

    outcome: Outcome
    reason: str | None = None
    found: Digest | None = None


def take(
    store: Store,
    file: Path,
    digest: Digest,
    source: Source | None = None,
    *,
    xet_hash: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Taken:
    """Name a file that stands elsewhere on this file system, by sharing its inode.

    For files that users replace, never write in place. It is sealed before it is hashed, so that no
    new writer can come in between; where it is refused after all, it gets its mode back. `progress`
    is told of the bytes hashed. A crash leaves the file sealed, or shared, and a temporary name.
    """
    temporary = store.layout.tmp / durable.unique_name()
    try:
        original = Path(os.path.realpath(file, strict=True))
        before = original.stat()
        if not stat.S_ISREG(before.st_mode):
            return Taken(Outcome.OUT_OF_REACH, "it is not a regular file")
        if before.st_uid != os.geteuid():
            return Taken(Outcome.OUT_OF_REACH, f"it belongs to uid {before.st_uid}")
        os.link(original, temporary)
    except FileNotFoundError:
        return Taken(Outcome.CHANGED, "it was removed meanwhile")
    except OSError as error:
        why = f"{oserrors.name(error)}: no hard link from it into the keep"
        return Taken(Outcome.OUT_OF_REACH, why)
    try:
        # Others may rename in `tmp`, so that from here on the open file counts, and not its name.
        with (
            explained("hashing", temporary),
            streaming.opened(temporary, follow=False) as descriptor,
        ):
            if not os.path.samestat(os.fstat(descriptor), before):
                return Taken(Outcome.CHANGED, "another file took its place")
            had = store.is_proven(digest)
            try:
                if not had:
                    durable.seal(descriptor)
                    reach("take_over:sealed")
                taken = _hashed(descriptor, before, digest, progress)
            except BaseException:
                durable.set_mode(descriptor, stat.S_IMODE(before.st_mode))
                raise
            if taken is not None:
                durable.set_mode(descriptor, stat.S_IMODE(before.st_mode))
                return taken
        if had:
            return Taken(Outcome.HELD)
        new = store.publish(temporary, digest, source=source, xet_hash=xet_hash, verified=True)
        return Taken(Outcome.TAKEN if new else Outcome.HELD)
    finally:
        durable.remove(temporary)


def _hashed(
    descriptor: int,
    before: os.stat_result,
    digest: Digest,
    progress: Callable[[int], None] | None,
) -> Taken | None:
    """Hash a file; return why it is refused, None where its bytes are what they should be."""
    found, size = hash_file(descriptor, digest.algorithm, progress=progress)
    reach("take_over:hashed")
    if identity(before) != identity(os.fstat(descriptor)):
        return Taken(Outcome.CHANGED, "it changed while it was hashed")
    if found != digest:
        return Taken(Outcome.CORRUPT, f"its bytes are {found} ({size} bytes)", found)
    return None
