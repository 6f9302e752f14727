"""Whether what is made in a group keep, by whatever client, can be used by the group."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote

from modelkeep.fs import acl, durable
from modelkeep.fs.folders import entries
from modelkeep.fs.oserrors import explained, opening
from modelkeep.runtime.doctor.interface import Check, Finding, Remedy, Status
from modelkeep.runtime.doctor.permissions import give_mode, is_mine, let_read
from modelkeep.runtime.doctor.subject import Folder, Subject
from modelkeep.runtime.doctor.words import counted, or_root, some


class DefaultAcl(Check):
    """What clients with any umask make in a group keep, the group can use."""

    id = "keep.acl"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Look for the default ACL of every folder."""
        if not subject.is_group:
            return self.skip("a private keep needs none")
        folders = [folder for folder in subject.folders if not folder.fixed]
        lacking = [folder for folder in folders if not _lets_group_write(Path(folder.path))]
        if not lacking:
            return self.ok(f"{counted(len(folders), 'folder')} with a default ACL for the group")
        if subject.is_writable and not _has_acls(subject.layout.tmp):
            kind = subject.capabilities.fs_type
            return self.bad(
                f"this file system ({kind}) has no ACLs: what stock clients make is closed to the"
                " group unless their umask is 002",
                "umask 002 for all who use it, in shells and containers",
            )
        top = quote(str(subject.directory))
        return self.bad(
            f"{counted(len(lacking), 'folder')} without a default ACL for the group:"
            f" {some([folder.path for folder in lacking])}",
            f"{subject.command('doctor keep --fix')}, or as root:"
            f" find {top} -type d -exec setfacl -m d:u::rwx,d:g::rwx,d:o::rx {{}} +",
            *(
                Remedy(
                    f"let what is made in {folder.path} be for the group",
                    partial(
                        give_mode,
                        subject.directory,
                        folder.path,
                        (folder.mode | 0o2070) & ~stat.S_IWOTH,
                        umask_free=True,
                    ),
                )
                for folder in lacking
                if is_mine(folder)
            ),
        )


class Umask(Check):
    """What this shell's clients make in a group keep, the group can use."""

    id = "keep.umask"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Read the umask; where folders have a default ACL it does not count."""
        if not subject.is_group:
            return self.skip("it does not count in a private keep")
        mask = _umask()
        if mask is None:
            return self.skip("this system does not tell the umask")
        if not mask & stat.S_IRWXG:
            return self.ok(f"{mask:03o}")
        if _lets_group_write(subject.hub.directory):
            return self.ok(f"{mask:03o}, and the hub's default ACL overrides it")
        return self.bad(
            f"{mask:03o}: what clients of this shell make in {subject.hub.directory} is closed to"
            " the group",
            "umask 002, in the start-up file of your shell",
        )


class ProtectedHardlinks(Check):
    """Only owners can make hard links to blobs."""

    id = "keep.protected_hardlinks"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Read the kernel's switch."""
        try:
            value = (subject.kernel / "fs/protected_hardlinks").read_text().strip()
        except OSError:
            return self.skip("this kernel has no fs.protected_hardlinks")
        if value == "1":
            rest = "; what others stored is linked by other ways" if subject.is_group else ""
            return self.ok(f"fs.protected_hardlinks is 1{rest}")
        return self.bad(
            f"fs.protected_hardlinks is {value}: any local user can link blobs to places of his"
            " own, and gc then gets no space back",
            "sysctl -w fs.protected_hardlinks=1, as root",
        )


class ClosedRepos(Check):
    """Every repo in the hub lets in those who share the keep."""

    id = "keep.closed_repos"

    def look(self, subject: Subject) -> Finding:
        """Look for folders that are closed to this caller, or that he has closed to the group."""
        top = f"{subject.hub.directory}/"
        folders = [folder for folder in subject.folders if folder.path.startswith(top)]
        closed = [folder for folder in folders if _is_closed(folder, group=subject.is_group)]
        if not closed:
            return self.ok(f"{counted(len(folders), 'folder')} of repos, all of them open")
        first = closed[0]
        return self.bad(
            f"{counted(len(closed), 'folder')} closed to those who share the keep:"
            f" {some([folder.path for folder in closed])}",
            f"{or_root([first.status.st_uid])}: {opening(first.path)}",
        )


class Trees(Check):
    """Everybody who can read the hub can read the notes of what commits hold."""

    id = "keep.trees"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Look at the modes of trees/*.json; stock clients make them 0600."""
        if not subject.is_group:
            return self.skip("nobody else reads a private keep")
        closed = list(_closed_notes(subject.folders))
        if not closed:
            return self.ok("all notes of commits can be read by the group")
        paths = [path for path, _ in closed]
        remedies = [
            remedy
            for path, status in closed
            for remedy in let_read(subject.directory, Path(path), status)
        ]
        hub = quote(str(subject.hub.directory))
        who = or_root(status.st_uid for _, status in closed)
        fixing = f"{subject.command('doctor keep --fix')}, or: " if remedies else ""
        return self.bad(
            f"{counted(len(paths), 'note')} of commits that only their owner can read:"
            f" {some(paths)}",
            f"{fixing}{who}: chmod a+r {hub}/*/trees/*.json",
            *remedies,
        )


def _is_closed(folder: Folder, *, group: bool) -> bool:
    if not os.access(folder.path, os.R_OK | os.X_OK):
        return True
    return group and folder.mode & 0o050 != 0o050


def _lets_group_write(directory: Path) -> bool:
    granted = acl.default_mode(directory)
    return granted is not None and granted & stat.S_IRWXG == stat.S_IRWXG


def _has_acls(scratch: Path) -> bool:
    probe = durable.temporary_beside(scratch / "acl")
    with explained("trying a default ACL", scratch):
        probe.mkdir()
        try:
            return acl.set_default(probe, 0o775)
        finally:
            probe.rmdir()


def _umask() -> int | None:
    """Return the umask without changing it, which other threads would notice."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None


def _closed_notes(folders: Iterable[Folder]) -> Iterable[tuple[str, os.stat_result]]:
    for folder in folders:
        if folder.path.endswith("/trees"):
            with suppress(OSError):
                for entry in entries(folder.path):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and not status.st_mode & stat.S_IRGRP:
                        yield entry.path, status
