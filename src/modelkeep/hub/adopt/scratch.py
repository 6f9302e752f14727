"""Builds files in the store's `tmp`, from where one rename brings them into a cache.

Built beside their target, a crash would leave them in somebody's cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelkeep.errors import AccessError
from modelkeep.fs import durable, streaming
from modelkeep.fs.links import Linker, Placed
from modelkeep.store.store import Store


@contextmanager
def named(store: Store) -> Iterator[Path]:
    """Give the block a temporary name, and see that nothing has it afterwards."""
    scratch = store.layout.tmp / durable.unique_name("adopt-")
    try:
        yield scratch
    finally:
        # Also after a rename: onto another name of the same inode it leaves the old name.
        durable.remove(scratch)


@contextmanager
def built(
    store: Store,
    linker: Linker,
    source: Path,
    *,
    mode: int = 0o444,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[Path, Placed]]:
    """Place a file under a temporary name, for the block to rename; errors are the linker's."""
    with named(store) as scratch:
        yield scratch, linker.place(source, scratch, mode=mode, progress=progress)


@contextmanager
def opened(scratch: Path) -> Iterator[int]:
    """Open a copy that was built, so that its mode and times can be set. Plain `OSError`.

    AccessError where a member of the group, who may rename in `tmp`, has put something else there.
    """
    with streaming.opened(scratch, follow=False) as descriptor:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_nlink != 1:
            raise AccessError(
                f"`{scratch}` is no longer the file that was built there",
                hint="ask the members of the keep's group, and run it again",
                path=scratch,
            )
        yield descriptor
