"""Builds files in the store's `tmp`, from where one rename brings them into a cache.

Built beside their target, a crash would leave them in somebody's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelkeep.fs import durable
from modelkeep.fs.links import Linker, Placed
from modelkeep.store.store import Store


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
    scratch = store.layout.tmp / durable.unique_name("adopt-")
    try:
        yield scratch, linker.place(source, scratch, mode=mode, progress=progress)
    finally:
        # Also after a rename: onto another name of the same inode it leaves the old name.
        durable.remove(scratch)
