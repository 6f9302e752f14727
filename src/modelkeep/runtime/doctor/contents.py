"""Whether what a keep notes about its users can be read, and what stands in its hub."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import chain
from pathlib import Path
from shlex import quote

from modelkeep.errors import ModelkeepError
from modelkeep.fs.space import readable
from modelkeep.hub.repo import Repo
from modelkeep.hub.unsettled import in_blobs, in_snapshots
from modelkeep.runtime.doctor.interface import Check, Finding, Status
from modelkeep.runtime.doctor.subject import Subject
from modelkeep.runtime.doctor.words import counted, some
from modelkeep.store.roots import OWN_HUB, Root

# What clients of all versions put beside repos; scanners know them.
_KNOWN = (".locks", "blobs", "CACHEDIR.TAG", "version.txt")


class Leases(Check):
    """Every lease and pin can be read; one that cannot holds everything."""

    id = "keep.leases"

    def look(self, subject: Subject) -> Finding:
        """Read them all."""
        held = subject.store.leases.look()
        if held.unreadable:
            return self.bad(
                f"{counted(len(held.unreadable), 'lease')} cannot be read, so nothing is ever"
                f" removed: {some(held.unreadable)}",
                f"when nothing runs that they may speak of: rm -r {quote(str(held.unreadable[0]))}",
            )
        return self.ok(f"{counted(len(held.leases), 'lease')}, all of them readable")


class Roots(Check):
    """Every cache that uses the store can be read, and is still where it was."""

    id = "keep.roots"

    def look(self, subject: Subject) -> Finding:
        """Read what each root refers to."""
        unreadable, gone, count = [], [], 0
        for root in subject.store.roots:
            count += 1
            if not _can_be_read(root):
                unreadable.append(root)
            elif root.home and root.is_reachable() and _is_gone(root.directory):
                gone.append(root)
        if unreadable:
            folders = [subject.layout.roots / root.id for root in unreadable]
            return self.bad(
                f"{counted(len(folders), 'root')} cannot be read, so what they may use is never"
                f" removed: {some(folders)}",
                "restore it from a backup; where its cache is gone for good:"
                f" rm -r {quote(str(folders[0]))}",
            )
        if gone:
            caches = [root.directory for root in gone]
            which = "cache that used the store is" if len(gone) == 1 else "caches that used it are"
            return Finding(
                Status.WARN,
                f"{len(gone)} {which} gone: {some(caches)}",
                f"none, if that was meant: {subject.command('gc')} frees what only they used",
            )
        return self.ok(f"{counted(count, 'root')}, all of them readable")


class Strangers(Check):
    """Nothing stands in the hub but what clients expect there."""

    id = "keep.strangers"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """List the hub."""
        hub = subject.hub.directory
        with os.scandir(hub) as entries:
            names = sorted(entry.name for entry in entries)
        strange = [name for name in names if name not in _KNOWN and not Repo.from_folder(name)]
        if not strange:
            return self.ok(f"{hub} holds repos and nothing else")
        return self.bad(
            f"{counted(len(strange), 'thing')} beside the repos in {hub}, of which stock clients"
            f" warn: {some(strange)}",
            "move them elsewhere",
        )


class Unsettled(Check):
    """What stock clients brought was hashed and is shared."""

    id = "keep.unsettled"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Add up what nobody has hashed yet."""
        store, hub = subject.store, subject.hub
        known = [root.paths() for root in store.roots if root.id == OWN_HUB]
        referenced = known[0] if known else frozenset[str]()
        waiting: dict[str, int] = {}
        for repo in hub.repos():
            with suppress(PermissionError):  # what is closed has a check of its own
                found = chain(in_blobs(store, hub, repo, referenced), in_snapshots(hub, repo))
                waiting[str(repo)] = sum(file.size for file in found)
        repos = [repo for repo, size in waiting.items() if size]
        if not repos:
            return self.ok("everything in the hub was hashed")
        return self.bad(
            f"{readable(sum(waiting.values()))} in {counted(len(repos), 'repo')} were brought by"
            f" stock clients and neither verified nor shared: {some(repos)}",
            subject.command("settle"),
        )


def _is_gone(directory: Path) -> bool:
    """Tell whether a cache is known not to be there; one in a closed home may be."""
    try:
        directory.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _can_be_read(root: Root) -> bool:
    if root.home == ("unknown", "unknown"):
        return False
    try:
        root.references()
    except ModelkeepError:
        return False
    return True
