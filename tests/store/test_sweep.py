"""Only age, by the file system's clock, proves that a temporary file is dead."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from modelkeep.fs import durable
from modelkeep.store import sweep as sweep_module
from modelkeep.store.store import Store
from modelkeep.store.sweep import discard, sweep
from tests import forks
from tests.later import Later
from tests.store.support import DATA, put


def fill(store: Store) -> None:
    tmp, partials = store.layout.tmp, store.layout.partials
    (tmp / "file").write_text("x")
    (tmp / "folder").mkdir()
    (tmp / "folder/file").write_text("x")
    (partials / "partial").mkdir()
    (partials / "partial/content").write_text("x")


@pytest.mark.parametrize(
    ("days", "gone"),
    [
        (0.9, set()),
        (1.1, {"file", "folder"}),
        (6.9, {"file", "folder"}),
        (7.1, {"file", "folder", "partial"}),
    ],
)
def test_old_leftovers_go_and_young_ones_stay(
    store: Store, later: Later, days: float, gone: set[str]
) -> None:
    fill(store)
    later(days)

    assert {path.name for path in sweep(store.layout)} == gone

    left = {path.name for path in (*store.layout.tmp.iterdir(), *store.layout.partials.iterdir())}
    assert left == {"file", "folder", "partial", "fetch"} - gone


def test_a_fresh_link_to_an_old_file_is_young(store: Store, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("x")
    os.utime(old, (0, 0))
    (store.layout.tmp / "link").hardlink_to(old)

    assert sweep(store.layout) == []


def test_a_folder_is_as_young_as_what_is_in_it(store: Store, later: Later) -> None:
    fill(store)
    os.utime(store.layout.tmp / "folder", (0, 0))
    (inside,) = (
        found for found in sweep_module.temporary(store.layout) if found.path.name == "folder"
    )

    assert inside.changed_ns >= (store.layout.tmp / "folder/file").stat().st_ctime_ns


def test_what_changes_after_it_was_found_stays(store: Store) -> None:
    fill(store)
    found = list(sweep_module.temporary(store.layout))
    for path in ("file", "folder/file"):
        (store.layout.tmp / path).write_text("y")

    assert [discard(each) for each in found] == ["it has changed just now"] * 2
    assert (store.layout.tmp / "folder/file").read_text() == "y"


def test_a_name_that_was_taken_anew_is_put_back(store: Store) -> None:
    """The collector is stopped between its look and its move; the name then means another file."""
    file = store.layout.tmp / "file"
    file.write_text("old")
    (found,) = sweep_module.temporary(store.layout)
    sweeper = forks.start(lambda: discard(found), sync="stop:discard:looked")
    sweeper.stopped()
    durable.write_bytes(file, b"new")
    sweeper.resume()

    assert sweeper.result() == "it has changed just now"
    assert file.read_bytes() == b"new"
    assert [path.name for path in store.layout.tmp.iterdir() if path.name != "fetch"] == ["file"]


def test_a_sweep_that_is_killed_leaves_what_the_next_one_takes(store: Store, later: Later) -> None:
    fill(store)
    later(1.1)
    assert forks.start(lambda: sweep(store.layout), sync="kill:discard:hidden").killed()
    assert len([path for path in store.layout.tmp.iterdir() if path.name != "fetch"]) == 2

    later(1.1)
    sweep(store.layout)
    assert [path.name for path in store.layout.tmp.iterdir()] == ["fetch"]


def test_a_link_is_removed_and_not_followed(store: Store, tmp_path: Path, later: Later) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    link = store.layout.tmp / "link"
    link.symlink_to(outside)
    later(2)

    sweep(store.layout)

    assert not link.is_symlink()
    assert (outside / "precious").exists()


def test_blobs_are_none_of_its_business(store: Store, later: Later) -> None:
    digest = put(store, DATA)
    later(400)
    assert sweep(store.layout) == []
    assert store.has(digest)


def test_sweeps_beside_each_other_and_beside_work_fail_nobody(store: Store, later: Later) -> None:
    for number in range(200):
        (store.layout.tmp / f"old{number}").write_text("x")
    time.sleep(0.05)  # the clock moves in steps
    later(1)

    def busy() -> int:
        for number in range(200):
            folder = store.layout.tmp / f"{os.getpid()}-{number}"
            folder.mkdir()
            shutil.rmtree(folder)
        return 0

    def sweeping() -> int:
        return sum(len(sweep(store.layout)) for _ in range(20))

    removed = forks.together([sweeping, sweeping, busy, busy])

    assert sum(removed) == 200
    assert [path.name for path in store.layout.tmp.iterdir()] == ["fetch"]
