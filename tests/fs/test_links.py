"""The ladder from hard link to copy, where all rungs are there and where they are not."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from modelkeep.errors import ModelkeepError
from modelkeep.fs import copying, mounts, probe
from modelkeep.fs.links import COPY_BELOW, Linker, LinkMode
from modelkeep.fs.space import allocated_bytes
from tests.fs.looking import mode_of, names

HARDLINK, REFLINK, SYMLINK, COPY = LinkMode
LARGE = COPY_BELOW + 12345
CONTENT = os.urandom(LARGE)


def blob(directory: Path, content: bytes = CONTENT) -> Path:
    (directory / "store").mkdir(exist_ok=True)
    path = directory / "store" / "blob"
    path.write_bytes(content)
    path.chmod(0o444)
    return path


def target_in(directory: Path) -> Path:
    (directory / "cache").mkdir(exist_ok=True)
    return directory / "cache" / "etag"


@pytest.mark.parametrize("replace", [False, True])
def test_a_hard_link_shares_the_inode(disk: Path, replace: bool) -> None:
    source, target = blob(disk), target_in(disk)

    placed = Linker([HARDLINK, COPY]).place(source, target, replace=replace)

    assert (placed.mode, placed.bytes_copied, placed.reason) == (HARDLINK, 0, None)
    assert target.samefile(source)
    assert names(target.parent) == {"etag"}


@pytest.mark.parametrize("replace", [False, True])
def test_a_reflink_is_an_inode_of_its_own_with_the_mode_asked_for(
    disk: Path, replace: bool
) -> None:
    source, target = blob(disk), target_in(disk)
    shares = probe.probe(disk).reflink

    placed = Linker([REFLINK, COPY]).place(source, target, mode=0o640, replace=replace)

    if shares:
        assert (placed.mode, placed.bytes_copied, placed.reason) == (REFLINK, 0, None)
    else:
        assert (placed.mode, placed.bytes_copied) == (COPY, LARGE)
        assert placed.reason is not None
        assert str(source) in placed.reason
        assert str(target) in placed.reason
    assert not target.samefile(source)
    assert target.read_bytes() == CONTENT
    assert mode_of(target) == 0o640
    assert names(target.parent) == {"etag"}


@pytest.mark.real
def test_xfs_and_btrfs_have_reflinks_and_ext4_says_why_not(mounts: dict[str, Path]) -> None:
    found = {kind: probe.probe(mounts[kind]).reflink for kind in ("xfs", "btrfs", "ext4", "tmpfs")}

    assert found == {"xfs": True, "btrfs": True, "ext4": False, "tmpfs": False}


@pytest.mark.parametrize("replace", [False, True])
def test_a_symbolic_link_is_relative(disk: Path, replace: bool) -> None:
    source, target = blob(disk), target_in(disk)

    placed = Linker([SYMLINK]).place(source, target, replace=replace)

    assert (placed.mode, placed.bytes_copied) == (SYMLINK, 0)
    assert target.readlink() == Path("../store/blob")
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == {"etag"}


def test_a_symbolic_link_holds_when_its_directory_is_reached_through_another(
    tmp_path: Path,
) -> None:
    source = blob(tmp_path)
    (tmp_path / "deep" / "cache").mkdir(parents=True)
    (tmp_path / "shortcut").symlink_to("deep/cache")

    Linker([SYMLINK]).place(source, tmp_path / "shortcut" / "etag")

    assert (tmp_path / "deep" / "cache" / "etag").read_bytes() == CONTENT


@pytest.mark.parametrize("replace", [False, True])
def test_a_copy_shares_nothing(disk: Path, replace: bool) -> None:
    source, target = blob(disk), target_in(disk)
    seen: list[int] = []

    placed = Linker([COPY]).place(source, target, mode=0o600, replace=replace, progress=seen.append)

    assert (placed.mode, placed.bytes_copied, placed.reason) == (COPY, LARGE, None)
    assert sum(seen) == LARGE
    assert target.read_bytes() == CONTENT
    assert not target.samefile(source)
    assert mode_of(target) == 0o600
    assert names(target.parent) == {"etag"}


@pytest.mark.parametrize("size", [0, 1, COPY_BELOW - 1])
def test_small_files_are_copied_since_people_edit_them(size: int, disk: Path) -> None:
    source, target = blob(disk, b"c" * size), target_in(disk)

    placed = Linker([HARDLINK]).place(source, target, mode=0o644)

    assert (placed.mode, placed.bytes_copied, placed.reason) == (COPY, size, None)
    assert mode_of(target) == 0o644
    assert target.read_bytes() == b"c" * size


def test_empty_files_are_never_linked(tmp_path: Path) -> None:
    placed = Linker([HARDLINK], copy_below=0).place(blob(tmp_path, b""), target_in(tmp_path))

    assert placed.mode is COPY


def test_a_linker_without_rungs_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="rung"):
        Linker([])


def test_what_is_linked_is_the_file_behind_symbolic_links(disk: Path) -> None:
    source, target = blob(disk), target_in(disk)
    pointer = disk / "pointer"
    pointer.symlink_to("store/blob")

    placed = Linker([HARDLINK]).place(pointer, target)

    assert placed.mode is HARDLINK
    assert not target.is_symlink()
    assert target.samefile(source)


@pytest.mark.parametrize("rung", list(LinkMode))
def test_without_replace_what_is_there_stays(rung: LinkMode, disk: Path) -> None:
    source, target = blob(disk), target_in(disk)
    target.write_bytes(b"mine")

    with pytest.raises(FileExistsError):
        Linker([rung, COPY]).place(source, target)

    assert target.read_bytes() == b"mine"
    assert names(target.parent) == {"etag"}


@pytest.mark.parametrize("rung", list(LinkMode))
def test_a_name_taken_in_the_meantime_stays(
    rung: LinkMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The moment between looking and linking cannot be hit from outside: look at nothing.
    source, target = blob(tmp_path), target_in(tmp_path)
    target.write_bytes(b"mine")
    monkeypatch.setattr(os.path, "lexists", lambda path: False)

    with pytest.raises(FileExistsError):
        Linker([rung, COPY]).place(source, target)

    assert target.read_bytes() == b"mine"
    assert names(target.parent) == {"etag"}


def test_replacing_a_link_by_itself_does_nothing_and_leaves_nothing(disk: Path) -> None:
    source, target = blob(disk), target_in(disk)
    linker = Linker([HARDLINK])
    linker.place(source, target)

    placed = linker.place(source, target, replace=True)

    assert placed.mode is HARDLINK
    assert names(target.parent) == {"etag"}
    assert source.stat().st_nlink == 2


def test_replacing_does_not_write_into_the_old_inode(tmp_path: Path) -> None:
    source, target = blob(tmp_path), target_in(tmp_path)
    target.write_bytes(b"old")
    other = tmp_path / "other-name"
    os.link(target, other)

    Linker([COPY]).place(source, target, replace=True)

    assert other.read_bytes() == b"old"


def test_a_source_that_is_gone_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Linker([HARDLINK]).place(tmp_path / "gone", target_in(tmp_path))


def test_a_missing_target_directory_is_not_taken_for_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(ModelkeepError) as caught:
        Linker([HARDLINK]).place(blob(tmp_path), tmp_path / "no" / "etag")

    assert caught.value.errno == errno.ENOENT


def test_only_regular_files_are_placed(tmp_path: Path) -> None:
    with pytest.raises(ModelkeepError, match="not a regular file"):
        Linker([HARDLINK]).place(tmp_path, target_in(tmp_path))


@pytest.mark.real
def test_no_allowed_rung_says_what_was_tried(ext4: Path) -> None:
    with pytest.raises(ModelkeepError, match="no reflink of") as caught:
        Linker([REFLINK]).place(blob(ext4), target_in(ext4))

    assert caught.value.errno == errno.ENOTSUP
    assert names(ext4 / "cache") == set()


@pytest.mark.real
def test_a_rung_the_file_system_lacks_is_not_tried_again(
    ext4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    clone = copying.clone

    def counted(source: int, target: int) -> None:
        tried.append(source)
        clone(source, target)

    monkeypatch.setattr(copying, "clone", counted)
    source, target = blob(ext4), target_in(ext4)
    linker = Linker([REFLINK, COPY])

    first = linker.place(source, target)
    second = linker.place(source, target.with_name("other"))

    assert len(tried) == 1
    assert first.reason == second.reason


def test_a_link_whose_answer_was_lost_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server that does the work and loses the answer cannot be had on one machine.
    link = os.link

    def lossy(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "lost", os.fspath(source))

    monkeypatch.setattr(os, "link", lossy)
    source, target = blob(tmp_path), target_in(tmp_path)

    assert Linker([HARDLINK]).place(source, target).mode is HARDLINK
    assert target.samefile(source)


def test_a_file_system_whose_link_is_a_copy_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some FUSE file systems answer link() with a copy on the server; none is installed here.
    monkeypatch.setattr(os, "link", shutil.copy)
    placed = Linker([HARDLINK]).place(blob(tmp_path), target_in(tmp_path))

    assert (placed.mode, placed.bytes_copied) == (COPY, LARGE)


def test_a_source_that_moves_to_a_fresh_inode_meanwhile_is_still_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The moment between looking and linking cannot be hit from outside.
    link = os.link

    def late(source: Path, target: Path) -> None:
        shutil.copy(source, tmp_path / "fresh")
        (tmp_path / "fresh").replace(source)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    source, target = blob(tmp_path), target_in(tmp_path)

    assert Linker([HARDLINK]).place(source, target).mode is HARDLINK
    assert target.samefile(source)


@pytest.mark.real
def test_copies_cross_file_systems(disk: Path, mounts: dict[str, Path]) -> None:
    for kind in ("tmpfs", "ext4"):
        source, target = blob(disk), mounts[kind] / f"from-{disk.name}"

        placed = Linker([HARDLINK, REFLINK, COPY]).place(source, target)

        if disk.stat().st_dev != mounts[kind].stat().st_dev:
            assert placed.mode is COPY
            assert placed.reason is not None
            assert placed.reason.startswith("EXDEV: no hardlink")
        assert target.read_bytes() == CONTENT
        target.unlink()


@pytest.mark.real
def test_a_reflink_takes_no_room(xfs: Path) -> None:
    source, target = blob(xfs, os.urandom(32 << 20)), target_in(xfs)
    os.sync()
    before = os.statvfs(xfs)

    Linker([REFLINK]).place(source, target)

    os.sync()
    after = os.statvfs(xfs)
    assert (before.f_bfree - after.f_bfree) * before.f_frsize < 4 << 20
    assert allocated_bytes(target.stat()) >= 32 << 20


def test_where_the_server_copies_ranges_by_reference_that_is_a_reflink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # JuiceFS has no FICLONE; its server is not to be had here, so the type alone is pretended.
    def no_clone(source: int, target: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no FICLONE")

    monkeypatch.setattr(copying, "clone", no_clone)
    monkeypatch.setattr(mounts, "fs_type", lambda path: "fuse.juicefs")
    source, target = blob(tmp_path), target_in(tmp_path)

    placed = Linker([REFLINK, COPY]).place(source, target, mode=0o644)

    assert (placed.mode, placed.bytes_copied) == (REFLINK, 0)
    assert target.read_bytes() == CONTENT
    assert mode_of(target) == 0o644
