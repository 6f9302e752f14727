"""How bytes and names get onto a disk so that a crash leaves the old or the new, never a mixture.

Two rules carry it: bytes are synced before a name points at them, and every temporary name is
unique, so that no lock is needed for safety. All functions raise errors of modelkeep's own tree;
only `FileNotFoundError` stays what it is.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from modelkeep.errors import AccessError
from modelkeep.fs import oserrors, sharing
from modelkeep.fs.oserrors import explained
from modelkeep.fs.syncpoint import reach


def unique_name(prefix: str = "") -> str:
    """Return a name nobody else will choose: on any host, in any container, at any time.

    Random, never made of the pid: containers that share a disk also share small pids.
    """
    return prefix + os.urandom(16).hex()


# Others may remove what was made just now, a few times; /proc refuses for ever.
_MAKE_ATTEMPTS = 100

TEMPORARY = ".modelkeep-"
"""What the names of unfinished files begin with."""


def temporary_beside(path: Path) -> Path:
    """Return a hidden unique name in the directory of `path`."""
    return path.parent / unique_name(TEMPORARY)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644, scratch: Path | None = None) -> None:
    """Replace the contents of `path`, durably and at once.

    A reader sees the old bytes or the new ones. `mode` is exact, whatever the umask. The temporary
    file lies beside `path`, or in `scratch`, a directory of the same file system, where a stranger
    left beside `path` by a crash would do harm. A symbolic link at `path` is replaced.
    """
    temporary = temporary_beside(path) if scratch is None else temporary_beside(scratch / path.name)
    with explained("writing", path):
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                write_all(fd, data)
                set_mode(fd, mode)
                sync_file(fd)
            finally:
                os.close(fd)
            reach("write:written")
            rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        reach("write:renamed")
        _sync_directory(path.parent)
        reach("write:done")


def append_line(path: Path, line: str, *, mode: int = 0o644) -> None:
    """Add a line, or several joined by newlines, to a file of lines, durably.

    A missing file is created, with exactly `mode`. All is one write in append mode, so that
    appenders on one machine never interleave. When an earlier append was cut off (a full disk, a
    crash), this one starts on a line of its own: readers skip malformed and empty lines. A write
    cut short is an error and leaves such a line.
    """
    with explained("appending", path):
        fd, created = _open_for_append(path, mode)
        try:
            data = line.encode() + b"\n"
            if not _ends_with_newline(fd):
                data = b"\n" + data
            written = os.write(fd, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
            reach("append:written")
            sync_file(fd)
        finally:
            os.close(fd)
        if created:
            _sync_directory(path.parent)
        reach("append:done")


def seal(target: int | Path) -> None:
    """Take away every write permission (mode 0444) and sync the bytes.

    Tolerates a file system that has no modes. The owner, and root, can still undo it.
    """
    path = target if isinstance(target, Path) else None
    with explained("sealing", path):
        if isinstance(target, Path):
            fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                _seal(fd)
            finally:
                os.close(fd)
        else:
            _seal(target)


def is_sealed(status: os.stat_result) -> bool:
    """Tell whether nobody may write to a file, by its mode."""
    return not status.st_mode & 0o222


def publish(temporary: Path, final: Path) -> bool:
    """Give a finished file its final name, never replacing what has that name already.

    True: `final` is that file, on the disk. False: `final` existed before. Either way `temporary`
    is gone. On an error it is kept, for the caller to try again or to remove. Both names lie on one
    file system. A crash leaves the temporary name, the final name, or both for one complete file.
    """
    with explained("publishing", final):
        _sync_path(temporary)
        reach("publish:sealed")
        new = not os.path.lexists(final) and name_once(temporary, final)
        reach("publish:linked")
        # The final name first: a disk that kept only the removal would have lost the file.
        _sync_directory(final.parent)
        reach("publish:synced")
        with suppress(FileNotFoundError):
            temporary.unlink()
        reach("publish:done")
        return new


def name_once(temporary: Path, final: Path) -> bool:
    """Name a file `final` unless that name is taken; nothing is synced, `temporary` may remain.

    Raises plain `OSError`. A network file system may do the work and lose the answer, then report
    any error, EEXIST included: what counts is whether the inode has the name.
    """
    try:
        os.link(temporary, final)
    except OSError as error:
        if same_inode(temporary, final):
            return True
        if isinstance(error, FileExistsError):
            return False
        if not (oserrors.is_capability(error) or oserrors.is_link_limit(error)):
            raise
    else:
        return True
    # Without hard links there is no call that never overwrites. Two writers may pass this check
    # together; the later rename wins, and names are only published for contents that are equal.
    if os.path.lexists(final):
        return False
    rename(temporary, final)
    return True


def rename(temporary: Path, final: Path) -> None:
    """Rename, replacing what is there; raises plain `OSError` unless only the answer was lost.

    If both are names of one inode the system does nothing, and `temporary` remains.
    """
    status = temporary.lstat()
    try:
        temporary.rename(final)
    except OSError:
        if not is_inode(final, status):
            raise


def sync_dir(path: Path) -> None:
    """Make the names in a directory durable, where the file system can do that."""
    with explained("syncing", path):
        _sync_directory(path)


def make_dirs(path: Path, *, inherit: bool = True) -> None:
    """Create a directory and its missing parents durably.

    What is made inside a directory that a group shares is shared as that one is, whatever the
    umask; without `inherit`, and anywhere else, the umask decides.
    AccessError where the parent is there and takes none: in /proc, in a directory that was removed.
    """
    with explained("creating a directory", path):
        _make_dirs(path, inherit)


def remove(path: Path) -> bool:
    """Remove a name. False: it was not there."""
    with explained("removing", path):
        try:
            path.unlink()
        except OSError as error:
            if oserrors.is_gone(error):
                return False
            raise
        return True


def sync_file(fd: int) -> None:
    """Sync an open file; a file system that cannot is no error, for nothing more can be done."""
    try:
        if sys.platform == "darwin":
            import fcntl

            # fsync there stops at the drive's cache.
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fsync(fd)
    except OSError as error:
        if not oserrors.is_capability(error):
            raise


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def set_mode(fd: int, mode: int) -> None:
    """Give an open file exactly this mode; a file system without modes is no error."""
    try:
        os.fchmod(fd, mode)
    except OSError as error:
        status = os.fstat(fd)
        if stat.S_IMODE(status.st_mode) == mode:
            return
        # Refusing the owner means that the file system has no modes (FAT, SMB).
        if not oserrors.is_capability(error) or status.st_uid != os.geteuid():
            raise


def is_inode(path: Path, status: os.stat_result) -> bool:
    """Tell whether `path` is now a name of that inode."""
    try:
        return os.path.samestat(path.lstat(), status)
    except OSError:
        return False


def same_inode(one: Path, other: Path) -> bool:
    """Tell whether both exist and are names of one inode."""
    try:
        return is_inode(other, one.lstat())
    except OSError:
        return False


def _seal(fd: int) -> None:
    set_mode(fd, 0o444)
    sync_file(fd)


def _open_for_append(path: Path, mode: int) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        with suppress(FileNotFoundError):
            return os.open(path, flags), False
        with suppress(FileExistsError):
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            set_mode(fd, mode)
            return fd, True


def _ends_with_newline(fd: int) -> bool:
    size = os.fstat(fd).st_size
    return size == 0 or os.pread(fd, 1, size - 1) == b"\n"


def _sync_path(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        sync_file(fd)
    finally:
        os.close(fd)


def _sync_directory(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # A directory one may write in but not list: its names go out with the next commit.
    try:
        sync_file(fd)
    finally:
        os.close(fd)


def _make_dirs(path: Path, inherit: bool) -> None:
    for attempt in range(_MAKE_ATTEMPTS):
        try:
            path.mkdir()
        except FileNotFoundError:
            _make_dirs(path.parent, inherit)
            continue
        except FileExistsError:
            if not path.is_dir():
                if os.path.lexists(path) and not path.is_dir():
                    raise
                continue  # it was removed just now
        except PermissionError:
            if attempt or not inherit:
                raise
            sharing.inherit(path.parent)  # another member may be making it at this moment
            continue
        else:
            _sync_directory(path.parent)
        if inherit:
            sharing.inherit(path)
        return
    raise AccessError(
        f"`{path}` cannot be created here",
        hint=f"`{path.parent}` takes no new folders, or was removed: choose another place",
        path=path,
    )
