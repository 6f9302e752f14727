"""Whether what a keep notes about its users can be read, and what stands in its hub."""

from __future__ import annotations

import os
from shlex import quote

from modelkeep.errors import ModelkeepError
from modelkeep.fs.space import readable
from modelkeep.hub.repo import Repo
from modelkeep.runtime.doctor.interface import Check, Finding, Status
from modelkeep.runtime.doctor.subject import Subject
from modelkeep.runtime.doctor.words import counted, some
from modelkeep.store.roots import Root

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
                f"when nothing runs that they may speak of: rm {quote(str(held.unreadable[0]))}",
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
            elif root.home and root.is_reachable() and not os.path.lexists(root.directory):
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
            return Finding(
                Status.WARN,
                f"{counted(len(caches), 'cache')} that used the store are gone: {some(caches)}",
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
            f"{counted(len(strange), 'thing')} in {hub} that are no repos, of which stock clients"
            f" warn: {some(strange)}",
            "move them elsewhere",
        )


class Unsettled(Check):
    """What stock clients brought was hashed and is shared."""

    id = "keep.unsettled"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Add up what nobody has hashed yet."""
        waiting = [repo for repo in subject.listing.repos if repo.bytes_unsettled]
        if not waiting:
            return self.ok("everything in the hub was hashed")
        size = readable(sum(repo.bytes_unsettled for repo in waiting))
        return self.bad(
            f"{size} in {counted(len(waiting), 'repo')} were brought by stock clients and neither"
            f" verified nor shared: {some([repo.repo for repo in waiting])}",
            subject.command("settle"),
        )


def _can_be_read(root: Root) -> bool:
    if root.home == ("unknown", "unknown"):
        return False
    try:
        root.references()
    except ModelkeepError:
        return False
    return True
