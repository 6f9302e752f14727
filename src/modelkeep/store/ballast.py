"""A file that is there to be removed: on a full disk it makes the room that a collection needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.fs.space import free_bytes
from modelkeep.store.layout import StoreLayout

SIZE = 1 << 20
# Where there is less room than this, the ballast would be what lacks somebody else.
_ROOM = 256 * SIZE


def make(layout: StoreLayout) -> None:
    """Make the ballast where it is missing and there is plenty of room. Best effort."""
    with suppress(ModelkeepError, OSError):
        if not layout.ballast.exists() and free_bytes(layout.root) >= _ROOM:
            # Random, since some file systems store nothing for what compresses well.
            durable.write_bytes(layout.ballast, os.urandom(SIZE), scratch=layout.tmp)


@contextmanager
def dropped_where_full(layout: StoreLayout) -> Iterator[None]:
    """Go without ballast for the block if the disk is full; see that there is some afterwards."""
    if free_bytes(layout.root) < SIZE:
        durable.remove(layout.ballast)
    yield
    make(layout)
