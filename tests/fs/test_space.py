"""Room on disks, as callers count it and as people read it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import NoSpaceError
from modelkeep.fs import space
from tests.filesystems import ramfs


def test_free_bytes_of_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    here, later = space.free_bytes(tmp_path), space.free_bytes(tmp_path / "a" / "b")

    assert abs(here - later) < 1 << 30
    assert here > 0


@pytest.mark.real
def test_a_file_takes_what_its_blocks_take(ext4: Path) -> None:
    sparse, full = ext4 / "sparse", ext4 / "full"
    with sparse.open("wb") as file:
        file.truncate(1 << 20)
    full.write_bytes(os.urandom(1 << 20))
    os.sync()

    assert space.allocated_bytes(sparse.stat()) < 65536
    assert space.allocated_bytes(full.stat()) >= 1 << 20


def test_too_little_room_says_how_much_is_needed_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(NoSpaceError) as caught:
        space.require_free(tmp_path, 10**18, doing="pulling `org/name`")

    assert caught.value.message.startswith("pulling `org/name` needs 1000 PB, only ")
    assert caught.value.path == str(tmp_path)
    assert caught.value.hint is not None
    assert "modelkeep gc" in caught.value.hint


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345_678, "12.3 MB"),
        (99_960_000, "100 MB"),
        (999_600_000, "1.0 GB"),
        (131_000_000_000, "131 GB"),
        (2 * 10**18, "2000 PB"),
    ],
)
def test_sizes_are_read_in_decimal_units(size: int, text: str) -> None:
    assert space.readable(size) == text


@given(st.integers(1000, 10**18))
def test_rounding_up_never_promises_too_little(size: int) -> None:
    number, unit = space.readable(size, rounding_up=True).split(" ")
    scale = 1000 ** ("B", "kB", "MB", "GB", "TB", "PB").index(unit)

    assert float(number) * scale >= size * (1 - 1e-12)


@pytest.mark.real
def test_a_file_system_that_tells_no_size_is_written_to(tmp_path: Path) -> None:
    with ramfs(tmp_path) as directory:
        space.require_free(directory, 1000, doing="pulling `org/name`")
