"""What lies beneath a keep: its file system, the room on it, its clock, the place it was put."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from modelkeep.keep import Keep
from modelkeep.runtime.doctor import Status
from modelkeep.runtime.doctor.disk import FileSystem, LinkCounts
from tests.filesystems import loop, overlay, tmpfs
from tests.runtime.doctor.conftest import found, is_ok, mended


@pytest.mark.real
def test_a_keep_in_memory_or_in_a_container_layer_is_found(tmp_path: Path) -> None:
    with tmpfs(tmp_path) as mount:
        memory = found(Keep.create(mount / "keep"), "keep.file_system")
    (tmp_path / "lower").mkdir()
    with overlay(tmp_path, tmp_path / "lower") as layer:
        container = found(Keep.create(layer.directory / "keep"), "keep.file_system")
    assert memory.status is container.status is Status.WARN
    assert memory.evidence.startswith("tmpfs: the keep lies in memory")
    assert container.evidence.startswith("overlay: the keep lies in a container's own layer")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("ext4", Status.OK),
        ("fuse.juicefs", Status.OK),
        ("unknown", Status.OK),
        ("nfs4", Status.WARN),
        ("cifs", Status.WARN),
    ],
)
def test_disks_and_tested_shared_file_systems_are_well(kind: str, status: Status) -> None:
    assert FileSystem().judge(kind).status is status


@pytest.mark.real
def test_a_hub_on_a_mount_of_its_own_is_found(keep: Keep, tmp_path: Path) -> None:
    assert is_ok(keep, "keep.one_file_system")
    with tmpfs(tmp_path) as mount:
        keep.hub.directory.rmdir()
        keep.hub.directory.symlink_to(mount)
        finding = found(keep, "keep.one_file_system")
    assert finding.status is Status.FAIL
    assert str(mount) in finding.evidence


@pytest.mark.real
def test_a_keep_that_moved_to_a_lesser_file_system_is_found(tmp_path: Path) -> None:
    with loop(tmp_path, "btrfs") as mount:
        Keep.create(mount / "keep")
        with loop(tmp_path, "ext4", 64) as other:
            shutil.copytree(mount / "keep", other / "keep")
            moved = other / "keep"
            finding = found(moved, "keep.capabilities")
            assert finding.status is Status.WARN
            assert "fs_type was btrfs and is ext4" in finding.evidence
            assert "reflink was there and is not there" in finding.evidence
            before = json.loads((moved / "store/STORE.json").read_bytes())
            mended(moved, "keep.capabilities")
            after = json.loads((moved / "store/STORE.json").read_bytes())
            assert is_ok(moved, "keep.capabilities")
    assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
    assert after["capabilities"]["reflink"] is False


def test_link_counts_that_cannot_be_relied_on_are_found(keep: Keep) -> None:
    able = keep.store.capabilities
    assert LinkCounts().judge(able).status is Status.OK
    assert "names that were removed" in LinkCounts().judge(replace(able, nlink=False)).evidence
    assert "no hard links" in LinkCounts().judge(replace(able, hardlink=False)).evidence


@pytest.mark.real
@pytest.mark.parametrize(("left_kb", "status"), [(1000, Status.WARN), (100, Status.FAIL)])
def test_a_disk_that_fills_up_is_found(tmp_path: Path, left_kb: int, status: Status) -> None:
    with tmpfs(tmp_path, 32) as mount:
        keep = Keep.create(mount / "keep")
        assert is_ok(keep, "keep.free_space")
        disk = os.statvfs(mount)
        fill = disk.f_bavail * disk.f_frsize - left_kb * 1000
        with (mount / "fill").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, fill)
        finding = found(keep, "keep.free_space")
    assert finding.status is status
    assert "of 33.6 MB free" in finding.evidence
    assert "modelkeep gc" in str(finding.fix)


@pytest.mark.real
def test_a_file_system_that_runs_out_of_inodes_is_found(tmp_path: Path) -> None:
    with loop(tmp_path, "ext4", 32) as mount:
        keep = Keep.create(mount / "keep")
        assert is_ok(keep, "keep.inodes")
        for number in range(os.statvfs(mount).f_favail - 20):
            (mount / f"{number}").touch()
        finding = found(keep, "keep.inodes")
    assert finding.status is Status.FAIL
    assert finding.evidence.startswith("20 of")


@pytest.mark.real
def test_a_file_system_without_inode_limits_is_skipped(tmp_path: Path) -> None:
    with loop(tmp_path, "btrfs") as mount:
        assert found(Keep.create(mount / "keep"), "keep.inodes").status is Status.SKIP


@pytest.mark.parametrize(
    ("skew", "status", "words"),
    [
        (10, Status.WARN, "10 s ahead of"),
        (-10, Status.WARN, "10 s behind"),
        (4000, Status.FAIL, "4000 s ahead of"),
    ],
)
def test_a_machine_with_another_time_than_its_file_system_is_found(
    keep: Keep, skew: float, status: Status, words: str
) -> None:
    assert is_ok(keep, "keep.clock")

    def now() -> float:
        return time.time() + skew

    finding = found(keep, "keep.clock", now=now)
    assert finding.status is status
    assert words in finding.evidence


def test_stamps_that_a_fast_machine_left_are_found(keep: Keep) -> None:
    lease = keep.store.layout.leases / "x.json"
    lease.write_text("{}")
    ahead = time.time() + 1000
    os.utime(lease, (ahead, ahead))
    finding = found(keep, "keep.clock")
    assert finding.status is Status.FAIL
    assert "a machine that shares it is fast" in finding.evidence


def test_what_nobody_could_fetch_again_does_not_belong_in_a_cache_folder(
    isolated: Path, tmp_path: Path
) -> None:
    keep = Keep.create()
    assert keep.directory.is_relative_to(isolated / ".cache")
    assert is_ok(keep, "keep.place")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/model.bin").write_bytes(b"weights")
    keep.add(tmp_path / "mine", "me/mine")
    finding = found(keep, "keep.place")
    assert finding.status is Status.WARN
    assert "me/mine" in finding.evidence
