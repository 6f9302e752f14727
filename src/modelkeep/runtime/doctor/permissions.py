"""Whose the folders of a keep are, who can work in them, and who can write into contents."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from shlex import quote

from modelkeep.fs import accounts, durable, sharing
from modelkeep.fs.oserrors import explained
from modelkeep.runtime.doctor.interface import Check, Finding, Remedy, Status
from modelkeep.runtime.doctor.subject import Folder, Subject
from modelkeep.runtime.doctor.words import counted, some

_OWNER = stat.S_IRWXU
_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


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
                f" in whom it should not: {some(paths)}"
            )
        if strange:
            evidence.append(f"{counted(len(strange), 'folder')} of another group: {some(strange)}")
        top = quote(str(subject.directory))
        return self.bad(
            "; ".join(evidence),
            f"{subject.command('doctor keep --fix')} does what you may; the rest as root:"
            f" chgrp -R {gid} {top}; modelkeep doctor keep --fix --keep {top}",
            *(self._remedy(subject, folder) for folder in wrong if is_mine(folder)),
        )

    def _private(self, subject: Subject) -> Finding:
        wrong = [
            folder
            for folder in subject.folders
            if folder.mode & stat.S_IWOTH or folder.mode & _OWNER != _OWNER
        ]
        if not wrong:
            return self.ok(f"{counted(len(subject.folders), 'folder')}, closed to other writers")
        return self.bad(
            f"{counted(len(wrong), 'folder')} that their owner cannot use, or everybody can change:"
            f" {some([folder.path for folder in wrong])}",
            f"chmod -R u+rwX,o-w {quote(str(subject.directory))}",
            *(self._remedy(subject, folder) for folder in wrong if is_mine(folder)),
        )

    def _remedy(self, subject: Subject, folder: Folder) -> Remedy:
        mode = _wanted(subject, folder) if subject.is_group else folder.mode & ~0o002 | _OWNER
        assert mode is not None
        return Remedy(
            f"give {folder.path} the mode {mode:o} instead of {folder.mode:o}",
            partial(give_mode, subject.directory, folder.path, mode, umask_free=False),
        )


class Sealed(Check):
    """Nobody can write into the contents of the store by mistake."""

    id = "keep.sealed"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Look at the mode of every blob."""
        count = others = 0
        mine = []
        for entry in subject.store.entries():
            count += 1
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # a collector was quicker
            if status.st_mode & _WRITE and stat.S_ISREG(status.st_mode):
                if status.st_uid == os.geteuid():
                    mine.append(Path(entry.path))
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


def _wanted(subject: Subject, folder: Folder) -> int | None:
    """Return the mode a folder of a group keep should have; None where it serves."""
    mode = folder.mode
    if folder.path == str(subject.directory):
        return None if mode & 0o2070 == 0o2070 and not mode & stat.S_IWOTH else sharing.TOP
    right = subject.layout.group_mode(Path(folder.path))
    needed, refused = right & 0o7770, ~right & (stat.S_IWGRP | stat.S_IWOTH)
    return None if mode & needed == needed and not mode & refused else right


def give_mode(top: Path, folder: str, mode: int, *, umask_free: bool) -> None:
    """Give a folder below `top` a mode, and with `umask_free` the default ACL that goes with it."""
    sharing.refuse_planted(top, Path(folder))
    sharing.share(Path(folder), mode, umask_free=umask_free)


def is_mine(folder: Folder) -> bool:
    """Tell whether this caller can change the mode of a folder."""
    return os.geteuid() in (0, folder.status.st_uid)


def let_read(top: Path, file: Path, status: os.stat_result) -> list[Remedy]:
    """Return what lets everybody read a file of a group keep: nothing where this caller may not.

    What has another name elsewhere may be anybody's secret that a member has put there.
    """
    if os.geteuid() != status.st_uid and (os.geteuid() != 0 or status.st_nlink > 1):
        return []
    return [
        Remedy(f"let everybody who can read the keep read {file}", partial(_let_read, top, file))
    ]


def _let_read(top: Path, file: Path) -> None:
    sharing.refuse_planted(top, file)
    with explained("letting others read", file):
        sharing.let_read(file)
