"""Verification and repair on real file systems, by several users, and on a disk that fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.filesystems import as_user, loop, need_root, public_directory, read_only
from tests.hub import Hub
from tests.keeping import loaded
from tests.models import random_bytes
from tests.store.support import flip

from modelkeep.fs.extents import extents
from modelkeep.hub.link import Linked
from modelkeep.keep import Keep
from modelkeep.store.digest import hash_bytes
from modelkeep.store.report import VerifyReport

pytestmark = pytest.mark.real

WEIGHTS = random_bytes((2 << 20) + 5, 3)
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS}
NAME = hash_bytes(WEIGHTS, "sha256")
ALICE, BOB = 12345, 12346


@pytest.fixture
def folder() -> Iterator[Path]:
    need_root()
    with public_directory() as folder:
        yield folder


@pytest.fixture
def elsewhere(folder: Path) -> Path:
    """Good bytes under another name."""
    (folder / "backup.bin").write_bytes(WEIGHTS)
    return folder / "backup.bin"


def filled(directory: Path, hub: Hub) -> Keep:
    hub.repo("org/model").commit(FILES)
    keep = Keep.create(directory)
    keep.pull("org/model")
    return keep


def blob_in(cache: Path) -> Path:
    (blob,) = cache.glob(f"*/blobs/{NAME.hex}")
    return blob


def test_files_of_another_user_that_share_the_inode_heal_with_it(
    hub: Hub, folder: Path, elsewhere: Path
) -> None:
    keep = filled(folder / "keep", hub)
    theirs = folder / "bob"
    keep.link("org/model", into=theirs)
    for path in (theirs, *theirs.rglob("*")):
        os.lchown(path, BOB, BOB)  # the shared inode, too
    flip(blob_in(theirs), 100)

    report = keep.verify(repair=True, source=elsewhere)

    assert report.ok
    assert blob_in(theirs).samefile(keep.store.path(NAME))
    assert blob_in(theirs).read_bytes() == WEIGHTS
    assert blob_in(theirs).stat().st_uid == BOB


def test_who_may_not_write_the_inode_replaces_it_and_says_who_keeps_the_rest(
    hub: Hub, folder: Path, elsewhere: Path
) -> None:
    keep = filled(folder / "keep", hub)
    os.link(keep.store.path(NAME), folder / "unknown to the keep")
    for path in (keep.directory, *keep.directory.rglob("*")):
        os.lchown(path, ALICE, ALICE)
    os.lchown(keep.store.path(NAME), BOB, BOB)
    flip(keep.store.path(NAME))

    def repair() -> VerifyReport:
        return Keep.open(keep.directory).verify(repair=True, source=elsewhere, jobs=1)

    report = as_user(ALICE, repair)

    assert not report.corrupt
    (left,) = report.unverifiable
    assert f"uid {BOB}" in left.reason
    assert "1 more name" in left.reason
    assert (folder / "unknown to the keep").read_bytes() != WEIGHTS
    assert loaded(keep, "org/model") == FILES
    assert blob_in(keep.hub.directory).samefile(keep.store.path(NAME))
    assert keep.verify().ok


def test_a_copy_in_a_cache_of_another_user_is_left_and_its_owner_named(
    hub: Hub, folder: Path
) -> None:
    keep = filled(folder / "keep", hub)
    for path in (keep.directory, *keep.directory.rglob("*")):
        os.lchown(path, ALICE, ALICE)
    keep.directory.chmod(0o755)
    theirs = folder / "bob"
    theirs.mkdir(mode=0o755)
    os.chown(theirs, BOB, BOB)

    def link() -> Linked:
        return Keep.open(keep.directory).link("org/model", into=theirs)

    theirs.chmod(0o777)
    as_user(ALICE, link)
    blob = blob_in(theirs)
    data = bytearray(WEIGHTS)
    data[7] ^= 1
    blob.unlink()
    blob.write_bytes(data)
    for path in (theirs, *theirs.rglob("*")):
        os.lchown(path, BOB, BOB)
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)

    def repair() -> VerifyReport:
        return Keep.open(keep.directory).verify(repair=True, jobs=1)

    report = as_user(ALICE, repair)
    assert [one.path for one in report.corrupt] == [str(blob)]
    assert any(f"uid {BOB}" in left.reason for left in report.not_repaired)

    assert keep.verify(repair=True).ok  # by root
    assert blob.read_bytes() == WEIGHTS
    assert blob.stat().st_uid == BOB


def test_a_read_only_keep_is_verified_and_not_marked(hub: Hub, tmp_path: Path) -> None:
    with loop(tmp_path, "ext4", 32) as disk:
        keep = filled(disk / "keep", hub)
        flip(keep.store.path(NAME))
        with read_only(disk):
            (bad,) = Keep.open(keep.directory).verify().corrupt
        assert not bad.marked
        assert keep.store.has_sound(NAME)
        assert keep.verify(repair=True).ok


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_reflinked_copies_are_looked_at_by_themselves(hub: Hub, tmp_path: Path, kind: str) -> None:
    with loop(tmp_path, kind) as disk:
        keep = filled(disk / "keep", hub)
        keep.link("org/model", into=disk / "cache")
        blob = blob_in(disk / "cache")
        blob.unlink()
        subprocess.run(["cp", "--reflink=always", keep.store.path(NAME), blob], check=True)
        flip(blob)

        (bad,) = keep.verify().corrupt
        assert bad.path == str(blob)
        assert keep.verify(repair=True).ok
        assert blob.read_bytes() == WEIGHTS


def test_on_a_full_disk_nothing_is_lost_and_the_next_repair_does_it(
    hub: Hub, folder: Path, elsewhere: Path
) -> None:
    with loop(folder, "ext4", 24) as disk:
        keep = filled(disk / "keep", hub)
        flip(keep.store.path(NAME))
        keep.verify()
        bad = keep.store.path(NAME).read_bytes()
        filler = disk / "filler"
        for room in range(0, 6 << 20, 1 << 19):  # a part and the bad bytes take 4 MiB and more
            _fill(filler, room)
            report = keep.verify(repair=True, source=elsewhere)
            filler.unlink()
            if report.ok:
                break
            assert [one.digest for one in report.corrupt] == [NAME]
            assert "make room" in report.not_repaired[0].reason
            assert keep.store.path(NAME).read_bytes() == bad
            assert not keep.store.has_sound(NAME)
            assert not list(keep.store.layout.tmp.glob("repair-*"))
        else:
            pytest.fail("6 MiB were not enough")
        assert room > 2 << 20
        assert loaded(keep, "org/model") == FILES


def test_sectors_that_cannot_be_read_are_found_and_repaired(
    hub: Hub, folder: Path, elsewhere: Path
) -> None:
    with loop(folder, "ext4", 64) as disk:
        keep = filled(disk / "keep", hub)
        _lose_sectors(folder, keep.store.path(NAME))

        (bad,) = keep.verify().corrupt
        assert bad.digest == NAME
        assert bad.found is None
        assert not keep.store.has_sound(NAME)

        report = keep.verify(repair=True, source=elsewhere)

        assert report.ok, report
        assert loaded(keep, "org/model") == FILES


def _fill(filler: Path, room: int) -> None:
    """Leave so many bytes of the disk free."""
    with filler.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    os.truncate(filler, filler.stat().st_size - room)


def _lose_sectors(folder: Path, blob: Path) -> None:
    """Cut the disk's image off where the blob begins: reading what lay behind is an I/O error."""
    (image,) = folder.glob("*/image")
    os.sync()
    known = extents(blob)
    assert known
    os.truncate(image, known[0][1])
    descriptor = os.open(blob, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
