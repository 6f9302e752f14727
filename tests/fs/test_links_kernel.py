"""What kernels do to links: other users, bind mounts, overlays, limits."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkeep.errors import AccessError
from modelkeep.fs import mounts as mount_table
from modelkeep.fs.extents import extents
from modelkeep.fs.links import Linker, LinkMode, Placed
from tests.filesystems import as_user, bind, loop, overlay, public_directory, tmpfs
from tests.fs.crash import kill_at, steps_of
from tests.fs.looking import mode_of, names

pytestmark = pytest.mark.real

HARDLINK, REFLINK, SYMLINK, COPY = LinkMode
SIZE = 2 << 20


def large(path: Path) -> Path:
    path.write_bytes(os.urandom(SIZE))
    path.chmod(0o444)
    return path


def test_another_user_cannot_hard_link_a_sealed_blob_and_gets_the_next_rung() -> None:
    if Path("/proc/sys/fs/protected_hardlinks").read_text().strip() != "1":
        pytest.skip("fs.protected_hardlinks is off")
    with public_directory() as shared:
        foreign, own = large(shared / "foreign"), shared / "own"

        def place_both() -> tuple[Placed, Placed]:
            own.write_bytes(os.urandom(SIZE))
            linker = Linker([HARDLINK, SYMLINK])
            return (
                linker.place(foreign, shared / "from-foreign"),
                linker.place(own, shared / "from-own"),
            )

        refused, allowed = as_user(4242, place_both)

    assert refused.mode is SYMLINK
    assert refused.reason is not None
    assert refused.reason.startswith("EPERM: no hardlink")
    assert "uid 0" in refused.reason
    # The refusal is one of that inode: the user's own files are still linked.
    assert (allowed.mode, allowed.reason) == (HARDLINK, None)


def test_a_source_one_may_not_read_is_an_error_not_a_downgrade() -> None:
    with public_directory() as shared:
        secret = large(shared / "secret")
        secret.chmod(0o400)

        def place() -> str | None:
            with pytest.raises(AccessError, match="permission denied") as caught:
                Linker([REFLINK, COPY]).place(secret, shared / "mine")
            return caught.value.path

        assert as_user(4242, place) == str(secret)
        assert names(shared) == {"secret"}


def test_a_bind_mount_has_the_same_device_and_refuses_links(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    source = large(store / "blob")
    other = tmp_path / "other"
    other.mkdir()
    with bind(tmp_path, other) as shown:
        assert shown.stat().st_dev == store.stat().st_dev
        placed = Linker([HARDLINK, COPY]).place(source, shown / "etag")

    assert placed.mode is COPY
    assert placed.reason is not None
    assert placed.reason.startswith("EXDEV")
    assert names(other) == {"etag"}
    assert names(store) == {"blob"}


@pytest.mark.parametrize("lower_on", ["same disk", "tmpfs"])
def test_overlayfs_that_copies_up_in_order_to_link_is_told(lower_on: str, tmp_path: Path) -> None:
    def check(lower: Path) -> None:
        large(lower / "blob")
        with overlay(tmp_path, lower) as mounted:
            assert mount_table.fs_type(mounted.directory) == "overlay"
            inode = (mounted.directory / "blob").stat().st_ino
            linker = Linker([HARDLINK])

            first = linker.place(mounted.directory / "blob", mounted.directory / "first")
            second = linker.place(mounted.directory / "blob", mounted.directory / "second")

            # The inode number does not tell: overlayfs keeps it.
            assert (mounted.directory / "first").stat().st_ino == inode
            assert (mounted.upper / "blob").stat().st_blocks * 512 >= SIZE
        assert (first.mode, first.bytes_copied) == (COPY, SIZE)
        assert first.reason is not None
        assert "copied up" in first.reason
        assert (second.mode, second.bytes_copied, second.reason) == (HARDLINK, 0, None)

    if lower_on == "tmpfs":
        with tmpfs(tmp_path) as mounted:
            check(mounted)
    else:
        lower = tmp_path / "lower"
        lower.mkdir()
        check(lower)


def test_extents_tell_shared_blocks_from_copies(xfs: Path) -> None:
    source = large(xfs / "source")
    Linker([REFLINK]).place(source, xfs / "clone")
    (xfs / "copy").write_bytes(source.read_bytes())

    assert extents(source) == extents(xfs / "clone")
    assert extents(source) != extents(xfs / "copy")


def fill_with_names(path: Path) -> None:
    """Give an inode all the names ext4 allows."""
    farm = path.parent / "farm"
    farm.mkdir()
    for number in range(65_000 - path.stat().st_nlink):
        os.link(path, farm / str(number))


ROTATE = """
import sys; from pathlib import Path; from modelkeep.fs.links import Linker, LinkMode
source, target = map(Path, sys.argv[1:])
Linker([LinkMode.HARDLINK]).place(source, target)
"""
ROTATE_STEPS = ["place:built", "rotate:copied", "rotate:replaced", "place:done"]


@pytest.fixture(scope="module")
def full_inode() -> Iterator[Path]:
    """A blob that has 65,000 names, on an ext4 of its own."""
    with public_directory() as base, loop(base, "ext4", 64) as directory:
        directory.chmod(0o777)
        source = large(directory / "blob")
        fill_with_names(source)
        yield source


@pytest.fixture
def crowded(full_inode: Path) -> Path:
    """The blob with 65,000 names, whatever an earlier test made of it."""
    full_inode.unlink()
    os.link(full_inode.parent / "farm" / "0", full_inode)
    (full_inode.parent / "cache").mkdir(exist_ok=True)
    for path in (full_inode.parent / "cache").iterdir():
        path.unlink()
    return full_inode


def test_an_inode_with_all_its_names_is_replaced_by_a_fresh_one(crowded: Path) -> None:
    before = crowded.stat()
    cache = crowded.parent / "cache"
    linker = Linker([HARDLINK, COPY])

    first = linker.place(crowded, cache / "first")
    second = linker.place(crowded, cache / "second")

    assert (first.mode, first.bytes_copied, first.rotated) == (HARDLINK, SIZE, True)
    assert first.reason is not None
    assert "65000 names" in first.reason
    assert (second.mode, second.bytes_copied, second.rotated) == (HARDLINK, 0, False)
    after = crowded.stat()
    assert after.st_ino != before.st_ino
    assert after.st_nlink == 3
    assert after.st_mtime_ns == before.st_mtime_ns
    assert mode_of(crowded) == 0o444
    assert crowded.read_bytes() == (crowded.parent / "farm" / "1").read_bytes()
    assert names(cache) == {"first", "second"}


def test_one_who_may_not_rename_in_the_store_gets_a_copy(crowded: Path) -> None:
    # Root may rename anywhere; a sticky directory stops another user, whose links of a writable
    # file the kernel allows.
    store, cache = crowded.parent, crowded.parent / "cache"
    inode = crowded.stat().st_ino
    store.chmod(0o1777)
    cache.chmod(0o777)
    crowded.chmod(0o666)
    try:
        placed = as_user(4242, lambda: Linker([HARDLINK]).place(crowded, cache / "etag"))
    finally:
        store.chmod(0o777)
        crowded.chmod(0o444)

    assert (placed.mode, placed.bytes_copied, placed.rotated) == (COPY, SIZE, False)
    assert crowded.stat().st_ino == inode
    assert names(cache) == {"etag"}


def test_several_who_meet_the_limit_together_all_get_their_file(crowded: Path) -> None:
    cache = crowded.parent / "cache"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=Linker([HARDLINK]).place, args=(crowded, cache / str(number)))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * 4
    content = crowded.read_bytes()
    assert names(cache) == {"0", "1", "2", "3"}
    assert all((cache / name).read_bytes() == content for name in names(cache))


def test_the_steps_of_a_rotation_are_known(crowded: Path, tmp_path: Path) -> None:
    target = crowded.parent / "cache" / "etag"

    assert steps_of(ROTATE, crowded, target, log=tmp_path / "log") == ROTATE_STEPS


@pytest.mark.parametrize("step", ROTATE_STEPS)
def test_killed_while_rotating(step: str, crowded: Path) -> None:
    content = crowded.read_bytes()
    target = crowded.parent / "cache" / "etag"

    kill_at(step, ROTATE, crowded, target)

    assert crowded.read_bytes() == content
    assert not target.exists() or target.read_bytes() == content
    Linker([HARDLINK]).place(crowded, target, replace=True)
    assert target.read_bytes() == content
