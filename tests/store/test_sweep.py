"""Only age, by the file system's clock, proves that a temporary file is dead."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from modelkeep.store.store import Store
from modelkeep.store.sweep import sweep
from tests import forks
from tests.store.support import DATA, put

DAY = 86_400


def aged(path: Path, days: float) -> Path:
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


def test_old_leftovers_go_and_young_ones_stay(store: Store) -> None:
    tmp, partials = store.layout.tmp, store.layout.partials
    for name, days in (("dead", 1.1), ("live", 0.9)):
        (tmp / name).write_text("x")
        aged(tmp / name, days)
        folder = tmp / f"{name}-folder"
        folder.mkdir()
        (folder / "file").write_text("x")
        aged(folder, days)
    for name, days in (("old", 8), ("young", 6)):
        (partials / name).mkdir()
        (partials / name / "content").write_text("x")
        aged(partials / name, days)
    aged(partials, 30)

    removed = {path.name for path in sweep(store.layout)}

    assert removed == {"dead", "dead-folder", "old"}
    assert {path.name for path in tmp.iterdir()} == {"live", "live-folder", "fetch"}
    assert [path.name for path in partials.iterdir()] == ["young"]


def test_a_link_is_removed_and_not_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    link = store.layout.tmp / "link"
    link.symlink_to(outside)
    then = time.time() - 2 * DAY
    os.utime(link, (then, then), follow_symlinks=False)

    sweep(store.layout)

    assert not link.is_symlink()
    assert (outside / "precious").exists()


def test_blobs_are_none_of_its_business(store: Store) -> None:
    digest = put(store, DATA)
    aged(store.path(digest), 400)
    assert sweep(store.layout) == []
    assert store.has(digest)


def test_sweeps_beside_each_other_and_beside_work_fail_nobody(store: Store) -> None:
    for number in range(200):
        aged_file = store.layout.tmp / f"old{number}"
        aged_file.write_text("x")
        aged(aged_file, 3)

    def busy() -> int:
        for number in range(200):
            folder = store.layout.tmp / f"{os.getpid()}-{number}"
            folder.mkdir()
            shutil.rmtree(folder)
        return 0

    def sweeping() -> int:
        return sum(len(sweep(store.layout)) for _ in range(20))

    removed = forks.together([sweeping, sweeping, busy, busy])

    assert sum(removed) >= 200
    assert [path.name for path in store.layout.tmp.iterdir()] == ["fetch"]
