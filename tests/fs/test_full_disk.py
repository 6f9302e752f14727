"""A full disk: an error that says so, nothing left behind, and room again once something goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkeep.errors import NoSpaceError
from modelkeep.fs import durable, locks, probe, space
from modelkeep.fs.links import Linker, LinkMode
from tests.filesystems import loop
from tests.fs.looking import names

pytestmark = pytest.mark.real


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB with nothing on it."""
    with loop(tmp_path, "ext4") as directory:
        (directory / "lost+found").rmdir()
        yield directory


def fill(directory: Path, leaving: int = 0) -> None:
    with (directory / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            os.fsync(file.fileno())
        file.truncate(max(0, file.tell() // 4096 * 4096 - leaving))


def full_of(directory: Path) -> set[str]:
    return names(directory) - {"ballast"}


def test_write_bytes_keeps_the_old_bytes(small: Path) -> None:
    durable.write_bytes(small / "file", b"old")
    fill(small)

    with pytest.raises(NoSpaceError) as caught:
        durable.write_bytes(small / "file", bytes(100_000))

    assert (small / "file").read_bytes() == b"old"
    assert full_of(small) == {"file"}
    assert caught.value.path == str(small / "file")
    assert caught.value.hint is not None


@pytest.mark.parametrize("leaving", [0, 4096, 65536, 1 << 20])
def test_a_copy_that_does_not_fit_leaves_nothing(leaving: int, small: Path, tmp_path: Path) -> None:
    source = tmp_path / "blob"
    source.write_bytes(os.urandom(2 << 20))
    fill(small, leaving)

    with pytest.raises(NoSpaceError):
        Linker([LinkMode.HARDLINK, LinkMode.COPY]).place(source, small / "etag")

    assert full_of(small) == set()


def crowd_a_directory(directory: Path, file: Path) -> str:
    """Fill the blocks of a directory with long names; return the name that does not fit."""
    for number in range(1000):
        name = f"{number:04}".ljust(200, "n")
        try:
            os.link(file, directory / name)
        except OSError:
            return name
    raise AssertionError("the disk is not full")


def test_publishing_in_a_directory_that_cannot_grow_keeps_the_temporary_file(small: Path) -> None:
    crowd, part = small / "crowd", small / "part"
    crowd.mkdir()
    durable.write_bytes(part, b"content")
    fill(small)
    name = crowd_a_directory(crowd, part)

    with pytest.raises(NoSpaceError):
        durable.publish(part, crowd / name)

    assert part.read_bytes() == b"content"
    (small / "ballast").unlink()
    assert durable.publish(part, crowd / name) is True


def test_a_link_for_which_there_is_no_name_leaves_nothing(small: Path) -> None:
    crowd, source = small / "crowd", small / "blob"
    crowd.mkdir()
    source.write_bytes(os.urandom(2 << 20))
    fill(small)
    name = crowd_a_directory(crowd, source)
    before = names(crowd)

    for replace in (False, True):
        with pytest.raises(NoSpaceError):
            Linker([LinkMode.HARDLINK, LinkMode.COPY]).place(source, crowd / name, replace=replace)

    assert names(crowd) == before


def test_a_line_that_was_cut_off_harms_no_other(small: Path) -> None:
    path = small / "lines"
    durable.append_line(path, "first")
    fill(small)
    line = "x" * 50_000

    with pytest.raises(NoSpaceError):
        durable.append_line(path, line)
    torn = path.read_bytes()
    (small / "ballast").unlink()
    durable.append_line(path, "last")

    assert torn.startswith(b"first\n")
    found = path.read_text().splitlines()
    assert found[0] == "first"
    assert found[-1] == "last"
    assert all(part == line[: len(part)] for part in found[1:-1])


def test_work_goes_on_without_a_lock(small: Path) -> None:
    crowd, file = small / "crowd", small / "file"
    crowd.mkdir()
    file.touch()
    fill(small)
    crowd_a_directory(crowd, file)

    with locks.hold(crowd / "lock".ljust(200, "k")) as held:
        assert held is False


def test_probing_says_that_the_disk_is_full(small: Path) -> None:
    fill(small)

    with pytest.raises(NoSpaceError):
        probe.probe(small)

    assert full_of(small) == set()
    assert probe.is_read_only(small) is False


def test_room_is_asked_for_before_it_is_used(small: Path) -> None:
    free = space.free_bytes(small)

    space.require_free(small, free, doing="pulling a model")
    with pytest.raises(NoSpaceError, match=r"pulling a model needs .* MB, only .* MB are free"):
        space.require_free(small, free + 1_000_000, doing="pulling a model")
