"""Whether those who share a keep can use it, and nobody else can."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote

from modelkeep.fs import accounts, acl, durable, sharing
from modelkeep.fs.oserrors import explained
from modelkeep.hub import scan
from modelkeep.runtime.doctor.interface import Check, Finding, Remedy, Status
from modelkeep.runtime.doctor.subject import Folder, Subject
from modelkeep.runtime.doctor.words import counted, some

FIXED = 0o2755
"""The mode of directories of a group keep in which no name ever changes."""

_TOP = 0o2770
_OWNER = stat.S_IRWXU
_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_READABLE = 0o644


class Writable(Check):
    """This caller can write into the keep."""

    id = "keep.writable"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Create a file, and remove it."""
        if subject.is_writable:
            return self.ok("you can write into it")
        owner = accounts.user(subject.directory.stat().st_uid)
        return self.bad(
            f"you can only read it; it belongs to {owner}",
            "as a reader you need do nothing; a keep of your own: --keep DIR or MODELKEEP_HOME",
        )


class Owner(Check):
    """A private keep belongs to one user, all of it."""

    id = "keep.owner"

    def look(self, subject: Subject) -> Finding:
        """Compare the owners of all folders with that of the keep."""
        if subject.is_group:
            return self.skip("the folders of a group keep belong to those who made them")
        owner = subject.directory.stat().st_uid
        name = accounts.user(owner)
        foreign = [folder.path for folder in subject.folders if folder.status.st_uid != owner]
        if not foreign:
            return self.ok(f"all of it belongs to {name}")
        return self.bad(
            f"{counted(len(foreign), 'folder')} of the keep of {name} belong to others,"
            f" as after a run with sudo: {some(foreign)}",
            f"chown -R {owner} {quote(str(subject.directory))} as root",
        )


class Modes(Check):
    """Folders have the modes that let their users work, and nobody else."""

    id = "keep.modes"

    def look(self, subject: Subject) -> Finding:
        """Look at every folder."""
        if not subject.is_group:
            return self._private(subject)
        gid = subject.directory.stat().st_gid
        wrong = [folder for folder in subject.folders if _wanted(subject, folder) is not None]
        strange = [folder.path for folder in subject.folders if folder.status.st_gid != gid]
        if not (wrong or strange):
            return self.ok(f"{counted(len(subject.folders), 'folder')} that the group can use")
        evidence = []
        if wrong:
            paths = [folder.path for folder in wrong]
            evidence.append(
                f"{counted(len(wrong), 'folder')} with a mode that stops the group or lets"
                f" others in: {some(paths)}"
            )
        if strange:
            evidence.append(f"{counted(len(strange), 'folder')} of another group: {some(strange)}")
        top = quote(str(subject.directory))
        return self.bad(
            "; ".join(evidence),
            f"{subject.command('doctor keep --fix')} does what you may; the rest as root:"
            f" chgrp -R {gid} {top}; find {top} -type d -exec chmod g+rwxs {{}} +",
            *(self._remedy(subject, folder) for folder in wrong if _is_mine(folder)),
        )

    def _private(self, subject: Subject) -> Finding:
        wrong = [
            folder
            for folder in subject.folders
            if folder.mode & stat.S_IWOTH or folder.mode & _OWNER != _OWNER
        ]
        if not wrong:
            return self.ok(f"{counted(len(subject.folders), 'folder')} that only you can change")
        return self.bad(
            f"{counted(len(wrong), 'folder')} that you cannot use, or everybody can change:"
            f" {some([folder.path for folder in wrong])}",
            f"chmod -R u+rwX,o-w {quote(str(subject.directory))}",
            *(self._remedy(subject, folder) for folder in wrong if _is_mine(folder)),
        )

    def _remedy(self, subject: Subject, folder: Folder) -> Remedy:
        mode = _wanted(subject, folder) if subject.is_group else folder.mode & ~0o002 | _OWNER
        assert mode is not None
        return Remedy(
            f"give {folder.path} the mode {mode:o} instead of {folder.mode:o}",
            partial(_share, subject.directory, folder.path, mode, umask_free=False),
        )


class Sealed(Check):
    """Nobody can write into the contents of the store by mistake."""

    id = "keep.sealed"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Look at the mode of every blob."""
        count, mine, others = 0, [], 0
        for digest, status in subject.store.blobs():
            count += 1
            if status.st_mode & _WRITE:
                if status.st_uid == os.geteuid():
                    mine.append(subject.layout.blob(digest))
                else:
                    others += 1
        if not (mine or others):
            return self.ok(f"{counted(count, 'blob')} that nobody writes into")
        blobs = quote(str(subject.layout.blobs))
        return self.bad(
            f"{counted(len(mine) + others, 'blob')} can be written into",
            f"find {blobs} -type f -exec chmod a-w {{}} +; then {subject.command('verify')}",
            *(
                Remedy(f"take away the right to write {path}", partial(durable.seal, path))
                for path in mine
            ),
        )


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
                        _share,
                        subject.directory,
                        folder.path,
                        (folder.mode | 0o2070) & ~stat.S_IWOTH,
                        umask_free=True,
                    ),
                )
                for folder in lacking
                if _is_mine(folder)
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
    """Every repo in the hub lets this caller in."""

    id = "keep.closed_repos"

    def look(self, subject: Subject) -> Finding:
        """List the keep; repos of one's own that are closed to the group count as well."""
        closed = subject.listing.closed
        shut = [
            folder
            for folder in subject.folders
            if subject.is_group and _is_mine(folder) and not folder.mode & 0o040
        ]
        if not (closed or shut):
            return self.ok(f"{counted(len(subject.listing.repos), 'repo')} that can be read")
        paths = [*(each.path for each in closed), *(folder.path for folder in shut)]
        fixes = [f"{each.owner}, or root: {each.fix}" for each in closed[:1]]
        return self.bad(
            f"{counted(len(paths), 'folder')} closed to those who share the keep: {some(paths)}",
            fixes[0] if fixes else subject.command("doctor keep --fix"),
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
        hub = quote(str(subject.hub.directory))
        return self.bad(
            f"{counted(len(paths), 'note')} of commits that only their owner can read:"
            f" {some(paths)}",
            f"{subject.command('doctor keep --fix')}, or: chmod a+r {hub}/*/trees/*.json",
            *(
                Remedy(
                    f"let everybody who can read the hub read {path}",
                    partial(_open_to_readers, path),
                )
                for path, uid in closed
                if uid == os.geteuid()
            ),
        )


def _wanted(subject: Subject, folder: Folder) -> int | None:
    """Return the mode a folder of a group keep should have; None where it serves."""
    mode = folder.mode
    if folder.path == str(subject.directory):
        return None if mode & 0o2070 == 0o2070 and not mode & stat.S_IWOTH else _TOP
    right = FIXED if folder.fixed else sharing.INSIDE
    needed = right & 0o7770
    return None if mode & needed == needed and not mode & stat.S_IWOTH else right


def _is_mine(folder: Folder) -> bool:
    return os.geteuid() in (0, folder.status.st_uid)


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


def _closed_notes(folders: Iterable[Folder]) -> Iterable[tuple[str, int]]:
    for folder in folders:
        if folder.path.endswith("/trees"):
            with suppress(OSError):
                for entry in scan.entries(folder.path):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and not status.st_mode & stat.S_IRGRP:
                        yield entry.path, status.st_uid


def _open_to_readers(path: str) -> None:
    with explained("opening a note of a commit", Path(path)):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            durable.set_mode(fd, _READABLE)
        finally:
            os.close(fd)


def _share(top: Path, folder: str, mode: int, umask_free: bool) -> None:
    sharing.refuse_planted(top, Path(folder))
    sharing.share(Path(folder), mode, umask_free=umask_free)
