"""File systems that all tests of one worker share; each test gets a directory of its own there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelkeep.fs.durable import unique_name
from tests import filesystems


@pytest.fixture(scope="session")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Mounted file systems by name, filled by `disk`."""
    with ExitStack() as stack:
        yield _Mounts(stack, tmp_path_factory.mktemp("mounts"))


class _Mounts(dict[str, Path]):
    def __init__(self, stack: ExitStack, base: Path) -> None:
        self._stack = stack
        self._base = base

    def __missing__(self, kind: str) -> Path:
        mount = (
            filesystems.tmpfs(self._base)
            if kind == "tmpfs"
            else filesystems.loop(self._base, kind, 64 if kind == "ext4" else None)
        )
        self[kind] = self._stack.enter_context(mount)
        return self[kind]


@pytest.fixture(
    params=[
        "default",
        *(pytest.param(kind, marks=pytest.mark.real) for kind in ("tmpfs", "ext4", "xfs", "btrfs")),
    ]
)
def disk(request: pytest.FixtureRequest, tmp_path: Path, mounts: dict[str, Path]) -> Path:
    """A fresh directory, once on each kind of file system."""
    return tmp_path if request.param == "default" else fresh(mounts[request.param])


@pytest.fixture
def ext4(mounts: dict[str, Path]) -> Path:
    """A fresh directory on ext4, which shares inodes but no blocks."""
    return fresh(mounts["ext4"])


@pytest.fixture
def xfs(mounts: dict[str, Path]) -> Path:
    """A fresh directory on XFS, which shares blocks."""
    return fresh(mounts["xfs"])


def fresh(mount: Path) -> Path:
    directory = mount / unique_name("test-")
    directory.mkdir()
    return directory
