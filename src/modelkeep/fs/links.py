"""The ladder from sharing an inode down to copying bytes.

Hard link, reflink, symbolic link, copy: the first rung that works is taken, and the answer says
which it was and why not a higher one. What decides is the file system's answer to really trying:
neither device numbers (a bind mount of the same disk refuses links) nor names of file systems.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import copying, durable, mounts, oserrors
from modelkeep.fs.copying import Progress
from modelkeep.fs.extents import extents
from modelkeep.fs.syncpoint import reach


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
class _Job:
    source: Path
    status: os.stat_result
    target: Path
    mode: int
    overwrite: bool
    progress: Progress | None


class Linker:
    """Places files, one at a time, from one store into one target area. Thread-safe.

    `rungs` are tried in their order. A rung that the file system does not have is remembered and
    not tried again; one that a single file refuses (an inode of another user, which
    `fs.protected_hardlinks` lets nobody else link) is tried anew with the next file. Files smaller
    than `copy_below` bytes, and empty ones, are always copied: people edit configurations in place.
    """

    def __init__(self, rungs: Sequence[LinkMode], *, copy_below: int = 1 << 20) -> None:
        if not rungs:
            raise ValueError("a linker needs a rung to stand on")
        self._rungs = tuple(rungs)
        self._copy_below = max(copy_below, 1)
        self._missing: dict[tuple[LinkMode, int], str] = {}
        self._overlays: dict[int, bool] = {}
        self._lock = threading.Lock()

    def place(
        self,
        source: Path,
        target: Path,
        *,
        mode: int = 0o444,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> Placed:
        """Make the contents of `source` appear at `target`, whole from the first moment.

        Symbolic links at `source` are followed. The directory of `target` exists. `mode` is given
        to reflinks and copies; a hard link has the mode of its inode. `progress` is told of bytes
        really copied. Without `replace`, raises `FileExistsError` if `target` exists; with it, a
        reader of `target` sees the old file or the new. `FileNotFoundError`: the source is gone.
        A failure, or a crash but for a `.modelkeep-*` file, leaves nothing behind.
        """
        try:
            job = _job(source, target, mode, replace, progress)
            return self._climb_down(job)
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise oserrors.translate(error, target, doing="placing a file") from error

    def _climb_down(self, job: _Job) -> Placed:
        if job.status.st_size < self._copy_below:
            return _copy(job)
        why: str | None = None
        last: OSError | None = None
        for rung in self._rungs:
            known = self._missing.get((rung, job.status.st_dev))
            if known is not None:
                why = why or known
                continue
            try:
                placed = self._try(rung, job)
            except OSError as error:
                if not oserrors.is_capability(error):
                    raise
                last = error
                why = why or self._downgrade(rung, job, error)
                continue
            return placed if placed.reason else _because(placed, why)
        raise ModelkeepError(
            f"no allowed way to place a file: {why}",
            hint="allow copies, or put both on one file system",
            path=job.target,
            errno=last.errno if last else None,
        )

    def _try(self, rung: LinkMode, job: _Job) -> Placed:
        if rung is LinkMode.HARDLINK:
            return _hardlink(job, watched=self._is_overlay(job))
        return {
            LinkMode.REFLINK: _reflink,
            LinkMode.SYMLINK: _symlink,
            LinkMode.COPY: _copy,
        }[rung](job)

    def _downgrade(self, rung: LinkMode, job: _Job, error: OSError) -> str:
        why = f"{oserrors.name(error)}: no {rung} of `{job.source}` at `{job.target}`"
        if oserrors.is_lasting(error):
            with self._lock:
                self._missing[rung, job.status.st_dev] = why
        elif job.status.st_uid != os.geteuid():
            why += f", a file of uid {job.status.st_uid}"
        return why

    def _is_overlay(self, job: _Job) -> bool:
        device = job.status.st_dev
        if device not in self._overlays:
            with self._lock:
                self._overlays[device] = mounts.fs_type(job.source) == "overlay"
        return self._overlays[device]


def _job(source: Path, target: Path, mode: int, overwrite: bool, progress: Progress | None) -> _Job:
    # os.link on a symbolic link would link the link.
    real = Path(os.path.realpath(source))
    status = real.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(source))
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
    return _Job(real, status, target, mode, overwrite, progress)


def _because(placed: Placed, why: str | None) -> Placed:
    return replace(placed, reason=why)


def _hardlink(job: _Job, *, watched: bool) -> Placed:
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
    if not durable.is_inode(job.target, job.status):
        return Placed(LinkMode.COPY, size, f"the file system made a copy for `{job.target}`")
    # Overlayfs keeps the inode number of a file that it copies up in order to link it.
    if watched and extents(job.target) != before:
        return Placed(LinkMode.COPY, size, f"overlayfs copied up `{job.source}` to link it")
    return Placed(LinkMode.HARDLINK, 0, None)


def _link_into_place(job: _Job) -> None:
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


def _rotate(job: _Job) -> Placed:
    """Go on with a fresh inode: ext4 allows 65,000 names for one.

    The source name moves to the fresh inode as well, so that the next files link to that one. Where
    the caller may not rename in the store, the target alone gets it, which is a copy.
    """
    current = job.source.stat()
    if not os.path.samestat(current, job.status):
        return _hardlink(replace(job, status=current), watched=False)
    with _filled(job, stat.S_IMODE(current.st_mode), _clone_or_copy) as (fresh, copied):
        os.utime(fresh, ns=(current.st_atime_ns, current.st_mtime_ns))
        reach("rotate:copied")
        why = f"EMLINK: `{job.source}` has {current.st_nlink} names"
        rotated = True
        with _temporary(job.target) as spare:
            try:
                os.link(fresh, spare)
                spare.rename(job.source)
            except OSError as error:
                if not (oserrors.is_refused(error) or oserrors.is_capability(error)):
                    raise
                rotated = False
        if rotated:
            durable.sync_dir(job.source.parent)
            reach("rotate:replaced")
        _settle(fresh, job)
    return Placed(LinkMode.HARDLINK if rotated else LinkMode.COPY, copied, why, rotated)


def _reflink(job: _Job) -> Placed:
    with _filled(job, job.mode, _clone) as (temporary, _):
        _settle(temporary, job)
    return Placed(LinkMode.REFLINK, 0, None)


def _symlink(job: _Job) -> Placed:
    # Relative, so that it holds wherever the tree that contains both is mounted.
    text = os.path.relpath(job.source, os.path.realpath(job.target.parent))
    with _temporary(job.target) as temporary:
        temporary.symlink_to(text)
        reach("place:built")
        _settle(temporary, job)
    return Placed(LinkMode.SYMLINK, 0, None)


def _copy(job: _Job) -> Placed:
    with _filled(job, job.mode, _copy_bytes) as (temporary, copied):
        _settle(temporary, job)
    return Placed(LinkMode.COPY, copied, None)


def _clone(job: _Job, source: int, target: int) -> int:
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


def _copy_bytes(job: _Job, source: int, target: int) -> int:
    return copying.copy(source, target, job.status.st_size, progress=job.progress)


def _clone_or_copy(job: _Job, source: int, target: int) -> int:
    try:
        return _clone(job, source, target)
    except OSError as error:
        if not oserrors.is_capability(error):
            raise
    return _copy_bytes(job, source, target)


@contextmanager
def _filled(
    job: _Job, mode: int, fill: Callable[[_Job, int, int], int]
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


def _settle(temporary: Path, job: _Job) -> None:
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
