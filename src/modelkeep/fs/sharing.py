"""Directories that a group works in: setgid and writable by the group, whatever anybody's umask.

One rule makes them: what is made inside a shared directory is shared as that one is. The umask of
a process is never touched, for it belongs to all of its threads. Nothing here follows a symbolic
link in the place of a directory: a member of the group could have put it there.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelkeep.errors import AccessError
from modelkeep.fs import accounts, acl
from modelkeep.fs.oserrors import explained

INSIDE = 0o2775
"""The mode of a shared directory. Who may come in at all is decided at the top of the keep."""

TOP = 0o2770
"""The mode of a shared directory that lets members in, and nobody else."""

FIXED = 0o2755
"""The mode of a directory of a shared keep in which no name ever changes."""

_SHARED = 0o2020  # the group may write, and what is made here belongs to the same group
_MOMENT_S = 0.005
_MOMENTS = 40  # only where the umask counts, and only for what somebody else has closed


def share(directory: Path, mode: int = INSIDE, *, umask_free: bool = True) -> bool:
    """Give a directory of the caller exactly this mode, and with `umask_free` its default ACL.

    False where the file system has no ACLs: other programs' umask then counts in there. AccessError
    where the mode cannot be given, which is so for whoever is not in the directory's group.
    """
    with explained("sharing a directory", directory), _opened(directory) as fd:
        os.fchmod(fd, mode)
        status = os.fstat(fd)
        if stat.S_IMODE(status.st_mode) != mode:
            member = os.geteuid() == 0 or accounts.is_member(status.st_gid)
            raise AccessError(
                f"`{directory}` does not take the mode {mode:o}",
                # The kernel drops the setgid bit without a word for who is not in that group.
                hint="this file system keeps no modes: choose another place"
                if member
                else f"only a member of its group, gid {status.st_gid}, can give it",
                path=directory,
            )
        return umask_free and acl.set_default(fd, mode & 0o777)


def is_shared(mode: int) -> bool:
    """Tell whether a directory of this mode is one that a group works in."""
    return mode & _SHARED == _SHARED


def what_is_lacking(directory: Path) -> str | None:
    """Return what lets the caller into a shared directory; None for a member, or where it is none.

    In words for a person, who is told to join its group.
    """
    try:
        status = directory.stat()
    except OSError:
        return None
    gid = status.st_gid
    if not is_shared(status.st_mode) or os.geteuid() == 0 or accounts.is_member(gid):
        return None
    return f"the keep is for the group `{accounts.group(gid)}`: {accounts.joining(gid)}"


def inherit(directory: Path) -> None:
    """Share a directory as the one it lies in is shared, where that is so. Plain `OSError`.

    One that another user has made a moment ago is given the time to become so; one that is gone is
    no error.
    """
    with suppress(FileNotFoundError):
        above = directory.parent.stat().st_mode
        for _ in range(_MOMENTS if is_shared(above) else 0):
            status = directory.lstat()
            if is_shared(status.st_mode) or not stat.S_ISDIR(status.st_mode):
                return
            if status.st_uid == os.geteuid():
                with _opened(directory) as fd:
                    os.fchmod(fd, stat.S_IMODE(above))
                return
            time.sleep(_MOMENT_S)


def let_read(file: Path) -> None:
    """Let everybody who reaches a file of the caller read it. Plain `OSError`."""
    fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode) | 0o444)
    finally:
        os.close(fd)


def refuse_planted(top: Path, path: Path) -> None:
    """Raise AccessError where a link of another user stands between a directory and a path in it.

    What is written by way of such a link would go where that user chose. Links of the caller and of
    root are trusted. `path` itself counts, and need not exist.
    """
    place = top
    for part in path.relative_to(top).parts:
        place = place / part
        with suppress(OSError):  # missing or closed: what is done with it says so
            status = place.lstat()
            if stat.S_ISLNK(status.st_mode) and status.st_uid not in (0, os.geteuid()):
                raise AccessError(
                    f"`{place}` is a link that uid {status.st_uid} made, to"
                    f" `{place.readlink()}`: nothing is written through it",
                    hint="remove the link, and ask its maker",
                    path=place,
                )


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
