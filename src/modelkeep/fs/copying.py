"""How bytes get from one open file into another: shared, moved inside the kernel, or read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from modelkeep.fs import mounts, oserrors

_FICLONE = 0x40049409

_CHUNK = 64 << 20  # small enough that Ctrl-C and progress come through
_BUFFER = 1 << 20

Progress = Callable[[int], None]


def clone(source: int, target: int) -> None:
    """Make an empty file share all blocks of another, by FICLONE. Raises plain `OSError`."""
    import fcntl

    fcntl.ioctl(target, _FICLONE, source)


def clone_on_server(source: int, target: int, size: int) -> None:
    """Clone where copying a range is a matter of metadata, as it is on JuiceFS."""
    done = 0
    while done < size:
        moved = os.copy_file_range(source, target, min(size - done, 1 << 30), done, done)
        if moved == 0:
            raise ShortCopyError(done, size)
        done += moved


def clones_on_server(directory: Path) -> bool:
    """Tell whether `copy_file_range` shares blocks there, where FICLONE does not."""
    return mounts.fs_type(directory) == "fuse.juicefs"


class ShortCopyError(OSError):
    """The source ended before its size: somebody is changing it."""

    def __init__(self, copied: int, size: int) -> None:
        super().__init__(None, f"only {copied} of {size} bytes could be copied")


def copy(source: int, target: int, size: int, *, progress: Progress | None = None) -> int:
    """Copy the first `size` bytes into an empty file; return `size`.

    The quickest way that works is taken: inside the file system, inside the kernel, by reading.
    `progress` is told of each piece copied. Raises plain `OSError`.
    """
    done = 0
    for engine in (_by_range, _by_sendfile, _by_reading):
        try:
            while done < size:
                moved = engine(source, target, done, min(size - done, _CHUNK))
                if moved == 0:
                    break
                done += moved
                if progress is not None:
                    progress(moved)
        except OSError as error:
            if engine is _by_reading or not oserrors.is_no_shortcut(error):
                raise
        if done == size:
            return done
    # Some kernels and FUSE servers end a copy early without an error: only reading is believed.
    raise ShortCopyError(done, size)


def _by_range(source: int, target: int, offset: int, count: int) -> int:
    if not hasattr(os, "copy_file_range"):
        return 0
    return os.copy_file_range(source, target, count, offset, offset)


def _by_sendfile(source: int, target: int, offset: int, count: int) -> int:
    os.lseek(target, offset, os.SEEK_SET)
    return os.sendfile(target, source, offset, count)


def _by_reading(source: int, target: int, offset: int, count: int) -> int:
    data = os.pread(source, min(count, _BUFFER), offset)
    view = memoryview(data)
    done = 0
    while done < len(data):
        done += os.pwrite(target, view[done:], offset + done)
    return done
