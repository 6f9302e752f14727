"""Finds and removes what crashed processes left behind.

Only age proves that a leftover is dead, since its owner may be in another container or on another
node. Age counts from the last change of the inode, by the file system's own clock: a fresh hard
link or a renamed folder has an old modification time. A folder is as young as the youngest thing
in it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.fs.clock import now_ns
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import freed_by
from modelkeep.fs.syncpoint import reach
from modelkeep.store.layout import StoreLayout

DAY_NS = 86_400 * 10**9
PARTIAL_LIFETIME_NS = 7 * DAY_NS
# Consumers outlive a mark after ten seconds; a collector that lost its own lets go.
_MARK_LIFETIME_NS = 600 * 10**9


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that nobody may be working on any more.

    `bytes` on the disk come back when it goes. `changed_ns` is its last change, `lifetime_ns` how
    long after that it counts as dead.
    """

    kind: str
    path: Path
    bytes: int
    changed_ns: int
    lifetime_ns: int
    reason: str

    def is_dead(self, now: int) -> bool:
        """Tell whether it has not changed for longer than its lifetime."""
        return now - self.changed_ns > self.lifetime_ns


def sweep(layout: StoreLayout) -> list[Path]:
    """Remove dead temporary files; return what was removed.

    Harmless beside running pulls on any node. What cannot be removed is left for its owner.
    """
    return remove_dead(layout.tmp, [*temporary(layout), *partials(layout)])


def temporary(layout: StoreLayout) -> Iterator[Leftover]:
    """Yield what lies in `tmp/`, unfinished downloads aside."""
    yield from look_into(
        layout.tmp,
        kind="temporary",
        lifetime_ns=DAY_NS,
        reason="left by a process that ended",
        chosen=lambda name: name != layout.partials.name,
    )


def partials(layout: StoreLayout) -> Iterator[Leftover]:
    """Yield unfinished downloads, which are worth more than other leftovers: a week."""
    yield from look_into(
        layout.partials,
        kind="download",
        lifetime_ns=PARTIAL_LIFETIME_NS,
        reason="unfinished, and no pull went on with it",
    )


def trashed(layout: StoreLayout) -> Iterator[Leftover]:
    """Yield the trash: bad bytes that were healed, and what a collector had in its hands."""
    yield from look_into(
        layout.trash, kind="trash", lifetime_ns=DAY_NS, reason="in the trash for more than a day"
    )


def marks(layout: StoreLayout) -> Iterator[Leftover]:
    """Yield the marks of collectors."""
    yield from look_into(
        layout.condemned_marks,
        kind="mark",
        lifetime_ns=_MARK_LIFETIME_NS,
        reason="set by a collector that ended",
    )


def look_into(
    directory: Path,
    *,
    kind: str,
    lifetime_ns: int,
    reason: str,
    chosen: Callable[[str], bool] = lambda _: True,
) -> Iterator[Leftover]:
    """Yield the `chosen` entries of a directory as leftovers; none of one that is missing."""
    try:
        with explained("looking for leftovers", directory), os.scandir(directory) as entries:
            paths = [Path(entry.path) for entry in entries if chosen(entry.name)]
    except FileNotFoundError:
        return
    for path in paths:
        found = _look(path)
        if found is not None:
            yield Leftover(kind, path, found.bytes, found.changed_ns, lifetime_ns, reason)


def changed_ns(path: Path) -> int | None:
    """Return when a file, or a folder with all that is in it, last changed; None where it is gone.

    By the file system's clock, as `Leftover.changed_ns` is.
    """
    found = _look(path)
    return None if found is None else found.changed_ns


def remove_dead(clock: Path, found: Iterable[Leftover]) -> list[Path]:
    """Remove those that are dead by the clock of a directory; return what was removed."""
    found = list(found)
    if not found:
        return []
    now = now_ns(clock)
    return [
        leftover.path for leftover in found if leftover.is_dead(now) and discard(leftover) is None
    ]


def discard(found: Leftover, *, needed: Callable[[Path], bool] = lambda _: False) -> str | None:
    """Remove a leftover unless it has changed since it was found; return why it stays.

    It is taken away under another name first, looked at there, and put back if it is not what was
    found, or `needed`, which is asked under the other name: names may be used again while this
    process is stopped. A crash leaves that other name, which is a leftover again.
    """
    before = _look(found.path)
    if before is None:
        return "it is gone already"
    if before.changed_ns != found.changed_ns:
        return "it has changed just now"
    if not _may_empty(found.path):
        return "it is somebody else's"
    reach("discard:looked")
    doomed = durable.temporary_beside(found.path)
    try:
        with explained("removing", found.path):
            durable.rename(found.path, doomed)
        reach("discard:hidden")
        after = _look(doomed)
        if after is None or after.inode != before.inode or after.written_ns != before.written_ns:
            _put_back(doomed, found.path)
            return "it has changed just now"
        if needed(doomed):
            _put_back(doomed, found.path)
            return "it is used again"
        if doomed.is_dir() and not doomed.is_symlink():
            shutil.rmtree(doomed)
        else:
            durable.remove(doomed)
    except FileNotFoundError:
        return "it is gone already"
    except (OSError, ModelkeepError) as error:
        return str(error)  # somebody else's: it is left for its owner
    reach("discard:removed")
    return None


def _may_empty(path: Path) -> bool:
    """Tell whether this caller can remove what is in a folder; true for what is none."""
    return path.is_symlink() or not path.is_dir() or os.access(path, os.W_OK | os.X_OK)


def _put_back(doomed: Path, path: Path) -> None:
    """Give a name back to what had it, unless something newer has it by now."""
    durable.name_once(doomed, path)
    durable.remove(doomed)


@dataclass(frozen=True, slots=True)
class _Look:
    inode: tuple[int, int]
    bytes: int
    changed_ns: int
    written_ns: int


def _look(path: Path) -> _Look | None:
    """Measure a file, or a folder with all that is in it; None where it is gone."""
    try:
        top = path.lstat()
    except OSError:
        return None
    size = freed_by(top)
    changed, written = top.st_ctime_ns, top.st_mtime_ns
    if stat.S_ISDIR(top.st_mode):
        for base, folders, names in os.walk(path):
            for name in (*folders, *names):
                with suppress(OSError):  # it comes and goes
                    status = os.lstat(os.path.join(base, name))  # noqa: PTH118 - walks large trees
                    size += freed_by(status)
                    changed = max(changed, status.st_ctime_ns)
                    written = max(written, status.st_mtime_ns)
    return _Look((top.st_dev, top.st_ino), size, changed, written)
