"""The file system's own time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from modelkeep.fs.clock import now_ns
from tests.fs.looking import names


def test_it_is_the_time_a_file_created_now_would_get(disk: Path) -> None:
    first = now_ns(disk)
    (disk / "file").touch()
    last = now_ns(disk)

    assert first <= (disk / "file").stat().st_mtime_ns <= last
    assert abs(first - time.time_ns()) < 5_000_000_000
    assert names(disk) == {"file"}


def test_time_passes(tmp_path: Path) -> None:
    first = now_ns(tmp_path)
    time.sleep(0.05)

    assert now_ns(tmp_path) > first


def test_a_missing_directory_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        now_ns(tmp_path / "no")
