"""Settling where there is no room, or no right to write: a clear word, and nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download
from tests.filesystems import loop, read_only
from tests.hub import Hub
from tests.keeping import content
from tests.models import random_bytes

from modelkeep.errors import NoSpaceError, ReadOnlyError
from modelkeep.keep import Keep

pytestmark = pytest.mark.real

MIB = 1 << 20
COMMAND = Path(sys.executable).with_name("modelkeep")
FILES = {"config.json": b"{}", "model.safetensors": random_bytes(8 * MIB, 31), "a.txt": b"a"}


def bring(keep: Keep, hub: Hub) -> Path:
    hub.repo("org/brought").commit(FILES)
    return Path(
        snapshot_download("org/brought", cache_dir=keep.hub.directory, endpoint=hub.endpoint)
    )


def settle(keep: Keep, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), "settle", *options, "--keep", str(keep.directory)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def fill(disk: Path, leaving: int) -> Path:
    """A file that takes all room but so many bytes."""
    filler = disk / "filler"
    status = os.statvfs(disk)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - leaving)
    return filler


def test_a_copy_that_finds_no_room_says_so(hub: Hub, tmp_path: Path) -> None:
    with loop(tmp_path, "ext4", 48) as disk:
        keep = Keep.create(disk / "keep")
        top = bring(keep, hub)
        os.chown((top / "model.safetensors").resolve(), 4242, 4242)
        filler = fill(disk, 2 * MIB)

        failed = settle(keep)

        assert failed.returncode == 6
        assert "error: settling `" in failed.stderr
        assert "hint: make room" in failed.stderr
        assert content(top) == FILES
        assert not list(keep.store.layout.tmp.glob("settle-*"))
        filler.unlink()
        assert settle(keep).returncode == 0
        assert keep.list().repos[0].bytes_unsettled == 0
        assert keep.verify().ok


def test_a_full_disk_loses_nothing(hub: Hub, tmp_path: Path) -> None:
    with loop(tmp_path, "ext4", 48) as disk:
        keep = Keep.create(disk / "keep")
        top = bring(keep, hub)
        hints = []
        for left in range(0, 24 << 10, 2 << 10):
            filler = fill(disk, left)
            try:
                keep.settle()
            except NoSpaceError as error:
                hints.append(error.hint)
            assert content(top) == FILES
            filler.unlink()
        assert hints
        assert all(hints)
        keep.settle()
        assert keep.list().repos[0].bytes_unsettled == 0
        assert keep.verify().ok


def test_a_keep_one_cannot_write_is_looked_at_only(hub: Hub, tmp_path: Path) -> None:
    with loop(tmp_path, "ext4", 48) as disk:
        keep = Keep.create(disk / "keep")
        top = bring(keep, hub)
        with read_only(disk):
            refused = settle(keep)
            assert refused.returncode == 4
            assert "error: " in refused.stderr
            assert "would settle 3 files" in settle(keep, "--dry-run").stdout
            with pytest.raises(ReadOnlyError):
                keep.settle()
            assert keep.verify().ok
        assert content(top) == FILES
