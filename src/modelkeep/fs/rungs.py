"""How a file gets to its place: one function for each rung of the ladder in `links`.

Each builds the file under a unique name beside the target and gives it the target's name only when
it is whole. All raise plain `OSError`; the ladder decides what an error means.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from modelkeep.fs import copying, durable, oserrors
from modelkeep.fs.copying import Progress
from modelkeep.fs.extents import extents
from modelkeep.fs.syncpoint import reach

_rotating = threading.RLock()  # one copy of a large file, not one for each thread


class LinkMode(StrEnum):
    """How a file came to its place."""

    HARDLINK = "hardlink"
    REFLINK = "reflink"
    SYMLINK = "symlink"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Placed:
    """What `Linker.place` did.

    `mode` is what it cost: a hard link for which the file system copied the bytes is a COPY.
    `reason` says why no higher rung was taken, None if the first allowed one worked. `rotated`: the
    source name now points at a fresh inode, because the old one had all the names it may have.
    """

    mode: LinkMode
    bytes_copied: int
    reason: str | None
    rotated: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One file to place; `source` is a real path and `status` what it was when this was made."""

    source: Path
    status: os.stat_result
    target: Path
    mode: int
    overwrite: bool
    progress: Progress | None


def prepare(
    source: Path, target: Path, mode: int, overwrite: bool, progress: Progress | None
) -> Job:
    """Look at the source and the target name; raise what makes placing pointless."""
    # os.link on a symbolic link would link the link.
    real = Path(os.path.realpath(source))
    status = real.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(source))
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
    return Job(real, status, target, mode, overwrite, progress)


def hardlink(job: Job, *, watched: bool) -> Placed:
    """Share the inode. `watched`: the source lies on overlayfs, which may copy it first."""
    if job.overwrite and durable.is_inode(job.target, job.status):
        return Placed(LinkMode.HARDLINK, 0, None)
    before = extents(job.source) if watched else None
    try:
        _link_into_place(job)
    except OSError as error:
        if not oserrors.is_link_limit(error):
            raise
        return _rotate(job)
    size = job.status.st_size
    if not (
        durable.is_inode(job.target, job.status)
        # The source name may have moved to a fresh inode since it was looked at.
        or durable.same_inode(job.target, job.source)
    ):
        return Placed(LinkMode.COPY, size, f"the file system made a copy for `{job.target}`")
    # Overlayfs keeps the inode number of a file that it copies up in order to link it.
    if watched and extents(job.target) != before:
        return Placed(LinkMode.COPY, size, f"overlayfs copied up `{job.source}` to link it")
    return Placed(LinkMode.HARDLINK, 0, None)


def _link_into_place(job: Job) -> None:
    if not job.overwrite:
        _link(job.source, job.target)
        reach("place:done")
        return
    with _temporary(job.target) as temporary:
        _link(job.source, temporary)
        reach("place:built")
        _settle(temporary, job)


def _link(source: Path, target: Path) -> None:
    """Link to a name that was free; an error whose answer was lost on a network is none."""
    try:
        os.link(source, target)
    except OSError:
        if not durable.same_inode(source, target):
            raise


def _rotate(job: Job) -> Placed:
    """Go on with a fresh inode: ext4 allows 65,000 names for one.

    The source name moves to the fresh inode as well, so that the next files link to that one. Where
    the caller may not rename in the store, the target alone gets it, which is a copy.
    """
    with _rotating:
        current = job.source.stat()
        if not os.path.samestat(current, job.status):
            return hardlink(replace(job, status=current), watched=False)
        with _filled(job, stat.S_IMODE(current.st_mode), _clone_or_copy) as (fresh, copied):
            os.utime(fresh, ns=(current.st_atime_ns, current.st_mtime_ns))
            reach("rotate:copied")
            rotated = _take_over(job, fresh)
            _settle(fresh, job)
    why = f"EMLINK: `{job.source}` had all the {current.st_nlink} names an inode may have"
    return Placed(LinkMode.HARDLINK if rotated else LinkMode.COPY, copied, why, rotated)


def _take_over(job: Job, fresh: Path) -> bool:
    """Let the source name point at the fresh inode, if that is allowed."""
    with _temporary(job.target) as spare:
        try:
            os.link(fresh, spare)
            if not durable.is_inode(job.source, job.status):
                return False  # another process has just done the same, or removed the source
            durable.rename(spare, job.source)
        except OSError as error:
            if oserrors.is_refused(error) or oserrors.is_capability(error):
                return False
            raise
    reach("rotate:replaced")
    durable.sync_dir(job.source.parent)
    return True


def reflink(job: Job) -> Placed:
    """Share the blocks: an inode of its own that costs no space until one of them is written."""
    with _filled(job, job.mode, _clone) as (temporary, _):
        _settle(temporary, job)
    return Placed(LinkMode.REFLINK, 0, None)


def symlink(job: Job) -> Placed:
    """Point at the source."""
    # Relative, so that it holds wherever the tree that contains both is mounted.
    text = os.path.relpath(job.source, os.path.realpath(job.target.parent))
    if not job.overwrite:
        job.target.symlink_to(text)
        reach("place:done")
        return Placed(LinkMode.SYMLINK, 0, None)
    with _temporary(job.target) as temporary:
        temporary.symlink_to(text)
        reach("place:built")
        _settle(temporary, job)
    return Placed(LinkMode.SYMLINK, 0, None)


def copy(job: Job) -> Placed:
    """Share nothing."""
    with _filled(job, job.mode, _copy_bytes) as (temporary, copied):
        _settle(temporary, job)
    return Placed(LinkMode.COPY, copied, None)


def _clone(job: Job, source: int, target: int) -> int:
    try:
        copying.clone(source, target)
    except OSError as error:
        same_disk = os.fstat(target).st_dev == job.status.st_dev
        if not (same_disk and oserrors.is_capability(error)):
            raise
        if not copying.clones_on_server(job.target.parent):
            raise
        copying.clone_on_server(source, target, job.status.st_size)
    return 0


def _copy_bytes(job: Job, source: int, target: int) -> int:
    return copying.copy(source, target, job.status.st_size, progress=job.progress)


def _clone_or_copy(job: Job, source: int, target: int) -> int:
    try:
        return _clone(job, source, target)
    except OSError as error:
        if not oserrors.is_capability(error):
            raise
    return _copy_bytes(job, source, target)


@contextmanager
def _filled(
    job: Job, mode: int, fill: Callable[[Job, int, int], int]
) -> Iterator[tuple[Path, int]]:
    """Build a synced file with the contents of the source under a temporary name."""
    with _temporary(job.target) as temporary:
        source = os.open(job.source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            target = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                copied = fill(job, source, target)
                size = os.fstat(source).st_size
                if size != job.status.st_size:
                    raise copying.ShortCopyError(job.status.st_size, size)
                durable.set_mode(target, mode)
                durable.sync_file(target)
            finally:
                os.close(target)
        finally:
            os.close(source)
        reach("place:built")
        yield temporary, copied


def _settle(temporary: Path, job: Job) -> None:
    if job.overwrite:
        durable.rename(temporary, job.target)
    elif not durable.name_once(temporary, job.target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(job.target))
    reach("place:done")


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    path = durable.temporary_beside(target)
    try:
        yield path
    finally:
        # Also after a rename: onto another name of the same inode it leaves the old name.
        with suppress(OSError):
            path.unlink()
