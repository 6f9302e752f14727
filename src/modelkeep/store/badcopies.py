"""Marks of bad files that lie outside the store: copies in the hub, and what clients brought.

A blob of the store is marked in its side file. A copy has none, so its mark stands in `bad/` and
says which file was found bad as it was then: once the file is written to or replaced, the mark
means nothing any more.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.fs.reading import read_small
from modelkeep.fs.sameness import Identity, identity
from modelkeep.store.digest import Digest
from modelkeep.store.layout import StoreLayout
from modelkeep.times import utc_now


def mark(layout: StoreLayout, path: Path, digest: Digest, status: os.stat_result) -> None:
    """Note durably that a file does not have the bytes of `digest`."""
    mode = 0o664 if layout.tmp.stat().st_mode & 0o020 else 0o644
    inode, size, mtime_ns = identity(status)
    fields = {
        "path": os.fspath(path),
        "digest": str(digest),
        "inode": inode,
        "size": size,
        "mtime_ns": mtime_ns,
        "bad_since": utc_now(),
    }
    durable.make_dirs(layout.bad)
    durable.write_bytes(_name(layout, path), json.dumps(fields).encode() + b"\n", mode=mode)


def unmark(layout: StoreLayout, path: Path) -> None:
    """Take the mark of a file away, if it has one and this caller may."""
    name = _name(layout, path)
    if os.path.lexists(name):
        with suppress(ModelkeepError):
            durable.remove(name)


def identities(layout: StoreLayout) -> frozenset[Identity]:
    """Return what the files that were found bad looked like then. Almost always none."""
    found = set()
    for name in _marks(layout):
        with suppress(OSError, ValueError, KeyError, TypeError):
            fields = json.loads(read_small(f"{layout.bad}/{name}"))
            found.add((int(fields["inode"]), int(fields["size"]), int(fields["mtime_ns"])))
    return frozenset(found)


def sweep(layout: StoreLayout) -> None:
    """Remove the marks of files that have changed or gone, as far as this caller may."""
    for name in _marks(layout):
        with suppress(OSError, ValueError, KeyError, TypeError, ModelkeepError):
            mark = layout.bad / name
            fields = json.loads(read_small(mark))
            try:
                now = identity(Path(fields["path"]).stat())
            except (FileNotFoundError, NotADirectoryError):
                now = None
            if now != (fields["inode"], fields["size"], fields["mtime_ns"]):
                durable.remove(mark)


def _marks(layout: StoreLayout) -> list[str]:
    try:
        names = os.listdir(layout.bad)  # noqa: PTH208 - before every command of `exec`
    except OSError:
        return []
    return [name for name in names if name.endswith(".json")]


def _name(layout: StoreLayout, path: Path) -> Path:
    return layout.bad / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
