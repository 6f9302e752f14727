"""Real file systems for tests, each on an image or in a folder of the test that asks for it.

All need root. Where they cannot be had the test skips and says why; with CI=true it fails instead,
so that a runner that lost a tool is noticed. What was mounted is unmounted however the test ends.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

Result = TypeVar("Result")

SMALLEST_MB = {"ext4": 8, "xfs": 320, "btrfs": 128}
_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-m", "0"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}


def unavailable(reason: str) -> NoReturn:
    """Skip the running test, or fail it where everything is supposed to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI lacks what this test needs: {reason}")
    pytest.skip(reason)


def need_root() -> None:
    """Skip the running test unless it runs as root."""
    if os.geteuid() != 0:
        unavailable("only root can mount and change its user")


@contextmanager
def loop(base: Path, kind: str, size_mb: int | None = None) -> Iterator[Path]:
    """Mount a fresh ext4, btrfs or XFS (with reflinks) from an image under `base`."""
    need_root()
    command = _MAKE[kind]
    if shutil.which(command[0]) is None:
        unavailable(f"{command[0]} is not installed")
    folder = _folder(base, kind)
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate((size_mb or SMALLEST_MB[kind]) << 20)
    subprocess.run([*command, image], check=True, stdout=subprocess.DEVNULL)
    # The kernel frees a loop device that `mount` made when the last user of the mount is gone.
    with _mounted(folder / "mnt", "-o", "loop", os.fspath(image)) as directory:
        yield directory
    image.unlink()


@contextmanager
def tmpfs(base: Path, size_mb: int = 64) -> Iterator[Path]:
    """Mount a tmpfs on a fresh directory under `base`."""
    folder = _folder(base, "tmpfs")
    with _mounted(folder / "mnt", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs") as directory:
        yield directory


@contextmanager
def ramfs(base: Path) -> Iterator[Path]:
    """Mount a ramfs, which has modes and no ACLs, on a fresh directory under `base`."""
    folder = _folder(base, "ramfs")
    with _mounted(folder / "mnt", "-t", "ramfs", "ramfs") as directory:
        yield directory


@dataclass(frozen=True)
class Overlay:
    """A mounted overlay: what is seen, and the directory that takes what is written."""

    directory: Path
    upper: Path


@contextmanager
def overlay(base: Path, lower: Path) -> Iterator[Overlay]:
    """Mount `lower` as the read-only layer of an overlay, as container images are."""
    folder = _folder(base, "overlay")
    upper, work = folder / "upper", folder / "work"
    upper.mkdir()
    work.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    with _mounted(folder / "mnt", "-t", "overlay", "-o", options, "overlay") as directory:
        yield Overlay(directory, upper)


@contextmanager
def bind(base: Path, directory: Path) -> Iterator[Path]:
    """Show a directory at a second place: the same device, yet another mount."""
    folder = _folder(base, "bind")
    with _mounted(folder / "mnt", "--bind", os.fspath(directory)) as shown:
        yield shown


@contextmanager
def read_only(mount: Path) -> Iterator[None]:
    """Remount a mount of this module read-only for the block."""
    subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", mount], check=True)


def _folder(base: Path, kind: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=base))
    folder.chmod(0o755)  # other users reach the mount if they reach `base`
    return folder


@contextmanager
def _mounted(point: Path, *arguments: str) -> Iterator[Path]:
    need_root()
    point.mkdir()
    done = subprocess.run(
        ["mount", *arguments, point], check=False, stderr=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        unavailable(f"mount {' '.join(arguments)}: {done.stderr.strip()}")
    try:
        yield point
    finally:
        gone = subprocess.run(["umount", point], check=False, stderr=subprocess.PIPE)
        if gone.returncode != 0:
            # Something still has a file open there; it must not keep the mount for ever.
            subprocess.run(["umount", "-l", point], check=True)


@contextmanager
def public_directory() -> Iterator[Path]:
    """Make a directory every user can reach and write; pytest's own are private to one."""
    folder = Path(tempfile.mkdtemp(prefix="modelkeep-test-"))
    try:
        folder.chmod(0o777)
        yield folder
    finally:
        shutil.rmtree(folder)


def as_user(uid: int, function: Callable[[], Result], *, gid: int | None = None) -> Result:
    """Return what the function returns, or raise what it raises, in a child that is this user.

    Modules it needs are imported beforehand: the other user may not read them.
    """
    need_root()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Later Pythons warn of threads; the child of this fork only calls the function and ends.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be(uid, uid if gid is None else gid, function, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    failed, value = pickle.loads(answer)
    if failed:
        raise value
    result: Result = value
    return result


def _be(uid: int, gid: int, function: Callable[[], object], writing: int) -> NoReturn:
    try:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        try:
            answer = pickle.dumps((False, function()))
        except Exception as error:
            try:
                answer = pickle.dumps((True, error))
                pickle.loads(answer)
            except Exception:
                answer = pickle.dumps((True, RuntimeError(f"{type(error).__name__}: {error}")))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)
