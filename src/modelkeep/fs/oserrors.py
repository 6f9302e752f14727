"""What an `OSError` means: a capability that is missing, a file that is gone, or a real failure."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from modelkeep.errors import AccessError, ModelkeepError, NoSpaceError, ReadOnlyError
from modelkeep.fs import accounts

_CAPABILITY = frozenset(
    {
        errno.EXDEV,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.ENOTTY,
        errno.ENOSYS,
        errno.EINVAL,
        errno.EPERM,
    }
)
# True of one file (its owner, its flags), not of the file system it lies on.
_PER_FILE = frozenset({errno.EPERM, errno.EINVAL})
# Answers of copy_file_range and sendfile that mean "not between these two files".
_NO_SHORTCUT = _CAPABILITY | {errno.EBADF, errno.ENOTSOCK, errno.ETXTBSY}
_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# The bytes are not what was written, or cannot be read any more: a sector, a checksum below us.
_LOST = frozenset({errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO)})

_HINTS = {
    errno.EMFILE: "raise the limit of open files: ulimit -n 65536",
    errno.EIO: "look at the kernel log: a disk, or the server behind this mount, is failing",
    errno.ESTALE: "the server replaced the file; try again, or mount the share anew",
    errno.EBUSY: "something still uses it; try again when that has ended",
}


def is_capability(error: OSError) -> bool:
    """Tell whether this says "not possible here" rather than "it failed"."""
    return error.errno in _CAPABILITY


def is_lasting(error: OSError) -> bool:
    """Tell whether a missing capability is one of the file system, true of every file on it."""
    return error.errno in _CAPABILITY - _PER_FILE


def is_unsupported(error: OSError) -> bool:
    """Tell whether the file system does not know such a call at all, whoever makes it."""
    return error.errno in _UNSUPPORTED


def is_no_attribute(error: OSError) -> bool:
    """Tell whether a file has no extended attribute of that name."""
    return error.errno == errno.ENODATA


def is_gone(error: OSError) -> bool:
    """Tell whether the file is not there any more; NFS says so with ESTALE too."""
    return error.errno in (errno.ENOENT, errno.ESTALE)


def is_refilled(error: OSError) -> bool:
    """Tell whether somebody put something into a directory that was being removed."""
    return error.errno in (errno.ENOTEMPTY, errno.EEXIST)


def is_full(error: OSError) -> bool:
    """Tell whether the file system or a quota is full."""
    return error.errno in _FULL


def is_lost(error: OSError | ModelkeepError) -> bool:
    """Tell whether the medium no longer gives back what was written to it."""
    return error.errno in _LOST


def is_refused(error: OSError) -> bool:
    """Tell whether this caller may not write here: permissions, or a read-only mount."""
    return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def is_link_limit(error: OSError) -> bool:
    """Tell whether the inode has as many names as the file system allows."""
    return error.errno == errno.EMLINK


def is_no_program(error: OSError) -> bool:
    """Tell whether the kernel does not know how to execute a file: a script without `#!`."""
    return error.errno == errno.ENOEXEC


def is_no_shortcut(error: OSError) -> bool:
    """Tell whether the kernel declines to copy between these files by itself."""
    return error.errno in _NO_SHORTCUT


def name(error: OSError) -> str:
    """Return the symbolic name, such as `EXDEV`."""
    return errno.errorcode.get(error.errno or 0, f"errno {error.errno}")


def translate(error: OSError, path: Path | None = None, *, doing: str) -> ModelkeepError:
    """Return the error of modelkeep's tree that says what failed.

    `doing` completes "no space left on device while …": a gerund such as `publishing a blob`.
    Without `path` the one in the error is used.
    """
    where = path if path is not None else error.filename
    what = f"{_lowered(error)} while {doing}"
    if where is not None:
        what += f": `{os.fsdecode(where)}`"
    kind: type[ModelkeepError] = ModelkeepError
    hint = _HINTS.get(error.errno or 0)
    if error.errno in _FULL:
        kind = NoSpaceError
        hint = (
            "the quota is used up: remove something, or ask for more"
            if error.errno == errno.EDQUOT
            else "make room: `modelkeep gc --all --dry-run` shows what could go"
        )
    elif error.errno == errno.EROFS:
        kind = ReadOnlyError
        hint = "this file system is mounted read-only"
    elif error.errno in (errno.EACCES, errno.EPERM):
        kind = AccessError
        hint = _who(where)
    return kind(what, hint=hint, path=where, errno=error.errno)


@contextmanager
def explained(doing: str, path: Path | None = None) -> Iterator[None]:
    """Turn any `OSError` of a file system call in the block into one of modelkeep's errors.

    `FileNotFoundError` passes through untouched: to most callers a file that is gone is a miss.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise translate(error, path, doing=doing) from error


def opening(folder: str | Path) -> str:
    """Return what its owner, or root, types to open a folder to its group."""
    return f"chmod -R g+rwX {quote(str(folder))}"


def _lowered(error: OSError) -> str:
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _who(where: str | bytes | Path | None) -> str | None:
    """Name the owner and mode of what refused the caller, or of its nearest visible parent.

    Where a folder of a group is closed to the caller as a member, also how its owner opens it.
    """
    if where is None:
        return None
    path = Path(os.fsdecode(where)).absolute()
    for candidate in (path, *path.parents):
        try:
            status, folder = candidate.lstat(), candidate.parent.lstat()
        except OSError:
            continue
        for place, found in ((candidate, status), (candidate.parent, folder)):
            if _is_closed_to_its_group(found):
                return (
                    f"{_owned(place, found)}; uid {found.st_uid}, or root, opens it to its group:"
                    f" {opening(place)}"
                )
        return f"{_owned(candidate, status)}; you are uid {os.geteuid()}"
    return None


def _owned(path: Path, status: os.stat_result) -> str:
    mode = stat.S_IMODE(status.st_mode)
    return f"`{path}` belongs to uid {status.st_uid}, gid {status.st_gid}, mode {mode:04o}"


def _is_closed_to_its_group(status: os.stat_result) -> bool:
    """Tell whether a folder that should be the group's, by its setgid bit, refuses a member."""
    return (
        stat.S_ISDIR(status.st_mode)
        and bool(status.st_mode & stat.S_ISGID)
        and status.st_mode & stat.S_IRWXG != stat.S_IRWXG
        and status.st_uid != os.geteuid()
        and accounts.is_member(status.st_gid)
    )
