"""What should be there and is not, and what crashed processes left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

from modelkeep.errors import FindingError
from modelkeep.fs import durable, sharing
from modelkeep.fs.reading import read_small
from modelkeep.fs.space import readable
from modelkeep.runtime.doctor.interface import Check, Finding, Remedy, Status
from modelkeep.runtime.doctor.subject import Subject
from modelkeep.runtime.doctor.words import counted, some
from modelkeep.store import sweep
from modelkeep.store.layout import StoreLayout
from modelkeep.store.sweep import Leftover

_DAY_S = 86_400


class Folders(Check):
    """Every directory that a store needs is there."""

    id = "keep.folders"

    def look(self, subject: Subject) -> Finding:
        """Look for each."""
        wanted = [*subject.layout.directories(), subject.directory / "hub"]
        missing = [path for path in wanted if not path.is_dir()]
        if not missing:
            return self.ok(f"all {len(wanted):,} are there")
        return self.bad(
            f"{counted(len(missing), 'folder')} missing: {some(missing)}",
            subject.command("doctor keep --fix"),
            *(Remedy(f"make {path}", partial(_make, subject, path)) for path in missing),
        )


class Leftovers(Check):
    """Nothing that crashed processes left is dead and still there."""

    severity = Status.WARN
    what: str
    find: Callable[[StoreLayout], Iterator[Leftover]]

    def look(self, subject: Subject) -> Finding:
        """Look for what has not changed for longer than it may live."""
        found = list(type(self).find(subject.layout))
        dead = [each for each in found if each.is_dead(subject.file_time_ns)]
        if not dead:
            return self.ok(f"{counted(len(found), self.what)}, none of them dead")
        size = readable(sum(each.bytes for each in dead))
        return self.bad(
            f"{counted(len(dead), self.what)} of processes that ended, {size}:"
            f" {some([each.path for each in dead])}",
            f"{subject.command('doctor keep --fix')}, or {subject.command('gc')}",
            *(Remedy(f"remove {each.path}", partial(_discard, each)) for each in dead),
        )


class Temporary(Leftovers):
    """No temporary file is left of a process that ended."""

    id = "keep.temporary"
    what = "temporary file"
    find = staticmethod(sweep.temporary)


class Partials(Leftovers):
    """No unfinished download is left that nobody goes on with."""

    id = "keep.partials"
    what = "unfinished download"
    find = staticmethod(sweep.partials)


class Marks(Leftovers):
    """No collector that ended left its mark on a content."""

    id = "keep.marks"
    what = "mark"
    find = staticmethod(sweep.marks)


class Trash(Check):
    """The trash is emptied."""

    id = "keep.trash"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Add it up."""
        found = list(sweep.trashed(subject.layout))
        dead = [each for each in found if each.is_dead(subject.file_time_ns)]
        size = readable(sum(each.bytes for each in found))
        evidence = f"{counted(len(found), 'file')} in the trash, {size}"
        if not dead:
            return self.ok(evidence)
        return self.bad(f"{evidence}; {len(dead):,} for more than a day", subject.command("gc"))


class Locks(Check):
    """No lock file makes stock clients wait for a process that ended."""

    id = "keep.locks"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Read the locks that clients left in the hub."""
        flock = subject.store.capabilities.flock
        count = 0
        stale = []
        for lock in _locks(subject):
            count += 1
            if _is_stale(lock, subject.now(), flock=flock):
                stale.append(lock.path)
        if not stale:
            return self.ok(f"{counted(count, 'lock')} of clients, none of a process that ended")
        locks = quote(str(subject.hub.directory / ".locks"))
        return self.bad(
            f"{counted(len(stale), 'lock')} of processes that ended; clients that cannot use flock"
            f" wait for them for ever: {some(stale)}",
            f"while nothing downloads: find {locks} -name '*.lock' -mmin +60 -delete",
        )


@dataclass(frozen=True, slots=True)
class _Lock:
    """A client's lock file: who holds it, where it tells, and when it was written."""

    path: str
    owner: tuple[int, str] | None
    written: float


def _locks(subject: Subject) -> Iterator[_Lock]:
    for base, _, names in os.walk(subject.hub.directory / ".locks"):
        for name in names:
            path = f"{base}/{name}"
            if name.endswith(".lock"):
                try:
                    status = os.lstat(path)
                    yield _Lock(path, _owner(path) if status.st_size else None, status.st_mtime)
                except OSError:
                    continue  # released just now, or of a folder that is closed


def _owner(path: str) -> tuple[int, str] | None:
    """Return the pid and the host in a lock of a client that has no flock; None if it has none."""
    lines = read_small(path).decode("utf-8", "replace").splitlines()
    return (int(lines[0]), lines[1]) if len(lines) >= 2 and lines[0].isdecimal() else None


def _is_stale(lock: _Lock, now: float, *, flock: bool) -> bool:
    age = now - lock.written
    if lock.owner is None:
        # Clients with flock leave empty ones, which harm nobody but those without.
        return not flock and age > _DAY_S
    pid, host = lock.owner
    if host != socket.gethostname():
        return age > _DAY_S
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _make(subject: Subject, path: Path) -> None:
    durable.make_dirs(path)
    if subject.is_group:  # the folder above lends it no mode, or the wrong one
        sharing.share(path, subject.layout.group_mode(path))


def _discard(found: Leftover) -> None:
    why = sweep.discard(found)
    if why is not None:
        raise FindingError(f"`{found.path}` stays: {why}", path=found.path)
