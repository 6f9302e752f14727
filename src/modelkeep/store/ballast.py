"""A file that is there to be removed: on a full disk it makes the room that a removal needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from modelkeep.errors import ModelkeepError, NoSpaceError
from modelkeep.fs import durable
from modelkeep.fs.space import free_bytes, free_files
from modelkeep.store.layout import StoreLayout

SIZE = 1 << 20
# Where there is less room than this, the ballast would be what lacks somebody else.
_ROOM = 256 * SIZE
# A removal makes one small file at a time, and others may do so beside it.
_FILES = 16


def make(layout: StoreLayout) -> None:
    """Make the ballast where it is missing and there is plenty of room. Best effort."""
    with suppress(ModelkeepError, OSError):
        if not layout.ballast.exists() and free_bytes(layout.root) >= _ROOM:
            # Random, since some file systems store nothing for what compresses well.
            durable.write_bytes(layout.ballast, os.urandom(SIZE), scratch=layout.tmp)


@contextmanager
def dropped_where_full(layout: StoreLayout) -> Iterator[None]:
    """Go without ballast for the block if the disk is full; see that there is some afterwards.

    A NoSpaceError of the block does not advise to collect: that is what the block does.
    """
    if free_bytes(layout.root) < SIZE or free_files(layout.root) < _FILES:
        durable.remove(layout.ballast)
    try:
        yield
    except NoSpaceError as error:
        error.hint = "remove another file of this disk first, then again: one small file must fit"
        raise
    make(layout)
