"""What lies beneath a keep: its file system, the room on it, its clock, the place it was put."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from modelkeep.fs import clock, durable, mounts
from modelkeep.fs.folders import entries
from modelkeep.fs.probe import Capabilities
from modelkeep.fs.space import readable
from modelkeep.hub.provenance import LOCAL
from modelkeep.runtime.doctor.interface import Check, Finding, Remedy, Status
from modelkeep.runtime.doctor.subject import Subject
from modelkeep.runtime.doctor.words import counted, some
from modelkeep.runtime.places import cache_home, inside

_MEMORY = ("tmpfs", "ramfs")
_LAYERS = ("overlay", "aufs", "fuse.fuse-overlayfs")
_TESTED = ("fuse.juicefs",)
# Noise of the measurement, not a property that anything depends on.
_MEASURED = "mtime_granularity_ns"
_LITTLE, _NOTHING = 0.05, 0.01  # of the disk
_SKEW_WARN_S, _SKEW_FAIL_S = 2.0, 300.0


class FileSystem(Check):
    """The keep lies on a disk that outlives this machine's boot and this container."""

    id = "keep.file_system"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Ask what is mounted there."""
        return self.judge(mounts.fs_type(subject.layout.root))

    def judge(self, kind: str) -> Finding:
        """Tell what a file system of this type means."""
        if kind in _MEMORY:
            return self.bad(
                f"{kind}: the keep lies in memory, and is gone after the next boot",
                "make a keep on a disk: modelkeep init DIR",
            )
        if kind in _LAYERS:
            return self.bad(
                f"{kind}: the keep lies in a container's own layer, and goes with the container;"
                " links may cost a copy",
                "put it on a volume, or mount a folder of the host",
            )
        if kind in _TESTED:
            return self.ok(f"{kind}, shared between machines")
        if kind != "unknown" and mounts.is_shared(kind):
            return self.bad(
                f"{kind}: other machines may share it, so garbage waits for a week;"
                " modelkeep was not tested on it",
                "fine while keep.capabilities and keep.clock are; JuiceFS is the tested way",
            )
        return self.ok(kind)


class OneFileSystem(Check):
    """Files can be linked from the store into the hub."""

    id = "keep.one_file_system"

    def look(self, subject: Subject) -> Finding:
        """Compare the mounts under both; even of one disk, two mounts refuse links."""
        table = mounts.table()
        store, hub = (
            mounts.under(table, os.path.realpath(path))
            for path in (subject.layout.root, subject.hub.directory)
        )
        if not table:
            return self.skip("this system keeps no table of mounts")
        if store != hub and store and hub:
            return self.bad(
                f"store/ is on the mount {store.point} and hub/ on {hub.point}: every model is"
                " stored twice",
                f"mount {subject.directory} as a whole, at one place",
            )
        return self.ok("store/ and hub/ are on one mount")


class Recorded(Check):
    """The file system can still do what it could when the keep was made."""

    id = "keep.capabilities"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Try everything again, and compare with STORE.json."""
        old, new = subject.store.capabilities.to_dict(), subject.capabilities.to_dict()
        changed = [
            f"{name} was {_said(old[name])} and is {_said(value)}"
            for name, value in new.items()
            if value != old[name] and name != _MEASURED
        ]
        if not changed:
            return self.ok(_summary(subject.capabilities))
        return self.bad(
            f"{'; '.join(changed)}: the keep was moved, or its mount has other options",
            f"check that this is the mount you mean, then {subject.command('doctor keep --fix')}",
            Remedy(
                f"note in {subject.layout.header} what the file system can do now",
                partial(_note, subject.layout.header, subject.capabilities),
            ),
        )


class LinkCounts(Check):
    """The count of a file's names drops when one is removed."""

    id = "keep.nlink"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Take it from what was tried."""
        return self.judge(subject.capabilities)

    def judge(self, found: Capabilities) -> Finding:
        """Tell what a file system with these capabilities means."""
        if not found.hardlink:
            return self.bad(
                f"{found.fs_type} has no hard links: what it cannot clone is there twice",
                "put the keep on a file system with hard links or reflinks",
            )
        if not found.nlink:
            return self.bad(
                f"{found.fs_type} goes on counting names that were removed: gc keeps what it"
                " cannot prove unused",
                "on JuiceFS the trash does that: its space comes back when that empties",
            )
        return self.ok("link counts can be relied on")


class FreeSpace(Check):
    """There is room for another model."""

    id = "keep.free_space"

    def look(self, subject: Subject) -> Finding:
        """Ask the file system."""
        status = os.statvfs(subject.layout.root)
        unit = status.f_frsize or status.f_bsize
        free, size = status.f_bavail * unit, status.f_blocks * unit
        return _share_left(free, size, f"{readable(free)} of {readable(size)} free", subject)


class Inodes(Check):
    """The file system can hold more files, whatever their size."""

    id = "keep.inodes"

    def look(self, subject: Subject) -> Finding:
        """Ask the file system; some have no limit."""
        status = os.statvfs(subject.layout.root)
        if not status.f_files:
            return self.skip("this file system has no fixed number of inodes")
        evidence = f"{status.f_favail:,} of {status.f_files:,} inodes free"
        return _share_left(status.f_favail, status.f_files, evidence, subject)


class Clock(Check):
    """The file system and this machine agree on the time."""

    id = "keep.clock"

    def look(self, subject: Subject) -> Finding:
        """Create a file, and look for stamps from the future that another machine left."""
        scratch, layout = subject.scratch, subject.layout
        newest = max(map(_newest, (layout.leases, layout.tmp, layout.roots)))
        # Asked after that: others write there all the time.
        now = clock.now_ns(scratch) / 1e9
        skew, ahead = subject.now() - now, newest - now
        if max(abs(skew), ahead) < _SKEW_WARN_S:
            return self.ok("this machine and the file system agree")
        status = Status.FAIL if max(abs(skew), ahead) > _SKEW_FAIL_S else Status.WARN
        if ahead > abs(skew):
            evidence = f"a file is stamped {ahead:.0f} s ahead: a machine that shares it is fast"
        else:
            side = "ahead of" if skew > 0 else "behind"
            evidence = f"this machine is {abs(skew):.0f} s {side} the file system"
        return Finding(status, evidence, "synchronise the clocks: timedatectl set-ntp true")


class Place(Check):
    """What nobody could fetch again does not lie in a folder that people empty."""

    id = "keep.place"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Look for added models in a keep below the cache folder."""
        keep, caches = subject.layout.root.parent, cache_home(subject.environ)
        if not inside(str(keep), caches):
            return self.ok(f"not below {caches}")
        added = [repo.repo for repo in subject.listing.repos if repo.source == LOCAL]
        if not added:
            return self.ok(f"below {caches}, and all of it could be fetched again")
        return self.bad(
            f"below {caches}, which people empty, with {counted(len(added), 'repo')} that no"
            f" upstream has: {some(added)}",
            "make a keep elsewhere (modelkeep init DIR), and add them there",
        )


def _share_left(left: int, whole: int, evidence: str, subject: Subject) -> Finding:
    share = left / whole if whole else 0.0
    if share >= _LITTLE:
        return Finding(Status.OK, evidence)
    status = Status.FAIL if share < _NOTHING else Status.WARN
    return Finding(status, evidence, f"make room: {subject.command('gc --all --dry-run')}")


def _newest(directory: Path) -> float:
    """Return the latest time of what lies in a folder."""
    latest = 0.0
    for entry in entries(str(directory)):
        with suppress(FileNotFoundError):  # it comes and goes
            latest = max(latest, entry.stat(follow_symlinks=False).st_mtime)
    return latest


def _said(value: str | bool | int) -> str:
    return {True: "there", False: "not there"}[value] if isinstance(value, bool) else str(value)


def _summary(found: Capabilities) -> str:
    able = [name for name, value in found.to_dict().items() if value is True]
    return f"{found.fs_type}: {', '.join(able)}"


def _note(header: Path, found: Capabilities) -> None:
    fields = json.loads(header.read_bytes())
    fields["capabilities"] = found.to_dict()
    text = json.dumps(fields, indent=1).encode() + b"\n"
    durable.write_bytes(header, text, scratch=header.parent / "tmp")
