"""What a file system can do, found by doing it.

Names and device numbers of file systems promise little: options, kernels and servers decide. Every
probe works on files of its own, which it removes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from modelkeep.fs import copying, durable, mounts, oserrors
from modelkeep.fs.oserrors import explained

_CONTENT = bytes(range(256)) * 256
_LONGEST_TICK = 0.05  # seconds; kernels step their file clock every 1 to 10 ms
_TICKS = 4
_ODD_TIME = 1_700_000_001_999_999_999
_STORED_STEPS = (1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What was found in one directory.

    `reflink`: files can share blocks, by FICLONE or on the server. `copy_file_range`: it works,
    sharing or not. `flock`: two open files really exclude each other on this machine; whether two
    machines do cannot be seen from one. `nlink`: the count drops when a name is removed.
    `mtime_granularity_ns`: a change that follows a look at the file sooner than this may not show
    in its modification time.
    """

    fs_type: str
    hardlink: bool
    reflink: bool
    copy_file_range: bool
    symlink: bool
    flock: bool
    mtime_granularity_ns: int
    nlink: bool

    def to_dict(self) -> dict[str, str | bool | int]:
        """Return the fields as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Capabilities:
        """Read what `to_dict` gave, of this or another version: unknown names are left out.

        What is missing or malformed counts as a capability that is not there.
        """
        careful: dict[str, str | bool | int] = {
            field.name: False for field in fields(cls) if field.type == "bool"
        }
        careful |= {"fs_type": "unknown", "mtime_granularity_ns": _STORED_STEPS[-1]}
        found = {
            name: value
            for name, value in (values.items() if isinstance(values, Mapping) else ())
            if name in careful and type(value) is type(careful[name])
        }
        return cls(**(careful | found))


def probe(directory: Path) -> Capabilities:
    """Find out what the file system under `directory` can do. Takes some tens of milliseconds.

    Raises `AccessError` or `ReadOnlyError` where nothing can be created, `NoSpaceError` on a full
    disk; `FileNotFoundError` if there is no such directory.
    """
    with explained("probing the file system", directory), _scratch(directory) as scratch:
        sample = scratch / "sample"
        durable.write_bytes(sample, _CONTENT)
        return Capabilities(
            fs_type=mounts.fs_type(directory),
            hardlink=_works(_links, sample, scratch / "hardlink"),
            reflink=_works(_clones, sample, scratch / "reflink"),
            copy_file_range=_works(_copies_ranges, sample, scratch / "range"),
            symlink=_works(_symlinks, sample, scratch / "symlink"),
            flock=_works(_locks, sample, scratch / "flock"),
            mtime_granularity_ns=_granularity(scratch / "time"),
            nlink=_works(_counts_names, sample, scratch / "nlink"),
        )


def is_read_only(directory: Path) -> bool:
    """Tell whether this caller cannot create a file there.

    Found by creating one: permission bits and `access(2)` do not know of root squashing, read-only
    exports or container mounts.
    """
    path = durable.temporary_beside(directory / "probe")
    with explained("probing for write access", directory):
        try:
            _create(path)
        except OSError as error:
            if oserrors.is_refused(error):
                return True
            if oserrors.is_full(error):
                return False
            raise
        path.unlink()
        return False


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    scratch = directory / durable.unique_name(".modelkeep-probe-")
    scratch.mkdir(0o700)
    try:
        yield scratch
    finally:
        for path in scratch.iterdir():
            with suppress(FileNotFoundError):
                path.unlink()
        scratch.rmdir()


def _works(check: Callable[[Path, Path], bool], sample: Path, new: Path) -> bool:
    try:
        return check(sample, new)
    except OSError as error:
        if oserrors.is_full(error):
            raise
        return False  # Whatever the file system answers, it did not do it.


def _create(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _links(sample: Path, new: Path) -> bool:
    os.link(sample, new)
    return os.path.samestat(sample.stat(), new.stat())


def _counts_names(sample: Path, new: Path) -> bool:
    before = sample.stat().st_nlink
    os.link(sample, new)
    between = sample.stat().st_nlink
    new.unlink()
    return (between, sample.stat().st_nlink) == (before + 1, before)


def _clones(sample: Path, new: Path) -> bool:
    with sample.open("rb") as source, new.open("xb") as target:
        try:
            copying.clone(source.fileno(), target.fileno())
        except OSError:
            if not copying.clones_on_server(new.parent):
                return False
            copying.clone_on_server(source.fileno(), target.fileno(), len(_CONTENT))
    return new.read_bytes() == _CONTENT


def _copies_ranges(sample: Path, new: Path) -> bool:
    if not hasattr(os, "copy_file_range"):
        return False
    with sample.open("rb") as source, new.open("xb") as target:
        os.copy_file_range(source.fileno(), target.fileno(), len(_CONTENT))
    return new.read_bytes() == _CONTENT


def _symlinks(sample: Path, new: Path) -> bool:
    new.symlink_to(sample.name)
    return new.read_bytes() == _CONTENT


def _locks(_sample: Path, new: Path) -> bool:
    import fcntl

    exclusive = fcntl.LOCK_EX | fcntl.LOCK_NB
    _create(new)
    # Locks belong to open files, not to processes: two of them here are two strangers.
    with new.open("r+b") as one, new.open("r+b") as other:
        fcntl.flock(one, exclusive)
        try:
            fcntl.flock(other, exclusive)
        except BlockingIOError:
            fcntl.flock(one, fcntl.LOCK_UN)
            fcntl.flock(other, exclusive)
            return True
        return False


def _granularity(path: Path) -> int:
    """Return the coarser of the steps the clock makes and the steps that times are stored in."""
    with path.open("xb", buffering=0) as file:
        fd = file.fileno()
        os.utime(path, ns=(_ODD_TIME, _ODD_TIME))
        stored = os.stat(path).st_mtime_ns  # noqa: PTH116 - a fresh look, not the open file
        step = next((s for s in _STORED_STEPS if stored == _ODD_TIME // s * s), _STORED_STEPS[-1])
        file.write(b".")
        seen = os.fstat(fd).st_mtime_ns
        ticks: list[int] = []
        end = time.monotonic() + _LONGEST_TICK
        # The shortest of several: a busy machine may let this process sleep through some.
        while len(ticks) < _TICKS and time.monotonic() < end:
            file.write(b".")
            now = os.fstat(fd).st_mtime_ns
            if now > seen:
                ticks.append(now - seen)
                seen = now
    return max(step, min(ticks, default=_STORED_STEPS[-2]))
