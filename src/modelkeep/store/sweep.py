"""Removes what crashed processes left behind.

Only age proves that a temporary file is dead, since its owner may be in another container or on
another node, and age is measured by the file system's own clock. A partial download is worth more
than other leftovers, so it is kept for a week.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.fs.clock import now_ns
from modelkeep.fs.oserrors import explained
from modelkeep.store.layout import StoreLayout

DAY_NS = 86_400 * 10**9
_PARTIAL_LIFETIME_NS = 7 * DAY_NS


def sweep(layout: StoreLayout) -> list[Path]:
    """Remove dead temporary files; return what was removed.

    Harmless beside running pulls on any node. What cannot be removed is left for its owner.
    """
    return [
        *remove_older(layout.tmp, DAY_NS, lambda name: name != layout.partials.name),
        *remove_older(layout.partials, _PARTIAL_LIFETIME_NS),
    ]


def remove_older(
    directory: Path, age_ns: int, chosen: Callable[[str], bool] = lambda _: True
) -> list[Path]:
    """Remove old entries whose names are `chosen`; return them. What resists is left."""
    removed = []
    for path in _older_than(directory, age_ns, chosen):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                durable.remove(path)
        except (OSError, ModelkeepError):
            continue  # another user's leftovers, or another sweep was quicker
        removed.append(path)
    return removed


def _older_than(directory: Path, age_ns: int, chosen: Callable[[str], bool]) -> Iterator[Path]:
    found = []
    with explained("looking for leftovers", directory), os.scandir(directory) as entries:
        for entry in entries:
            if not chosen(entry.name):
                continue
            with suppress(FileNotFoundError):  # temporary files come and go
                found.append((Path(entry.path), entry.stat(follow_symlinks=False).st_mtime_ns))
    if found:
        now = now_ns(directory)
        yield from (path for path, mtime in found if now - mtime > age_ns)
