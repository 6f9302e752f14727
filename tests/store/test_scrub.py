"""A scrub keeps to its time, stops where it is told to, and the next one goes on."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from modelkeep.fs.sameness import identity
from modelkeep.store import meta as metas
from modelkeep.store.checked import Checked
from modelkeep.store.digest import Digest
from modelkeep.store.report import Copy, VerifyReport
from modelkeep.store.scrub import Progress, Run
from modelkeep.store.store import Store
from modelkeep.store.verify import verify
from tests import forks
from tests.store.support import flip, put

LONG_AGO = "2020-01-01T00:00:00Z"


@dataclass(frozen=True)
class Task:
    name: str
    size: int = 100


def aged(store: Store, count: int) -> list[Digest]:
    """Contents that were last verified in this order, one a day."""
    digests = [put(store, b"content %d" % number) for number in range(count)]
    for day, digest in enumerate(digests, 1):
        side = store.layout.meta(digest)
        meta = metas.read(side)
        assert meta is not None
        metas.write(side, replace(meta, verified_at=f"2020-01-{day:02}T00:00:00Z"))
    return digests


def verified(store: Store, digest: Digest) -> bool:
    meta = metas.read(store.layout.meta(digest))
    assert meta is not None
    path = store.path(digest)
    latest = store.checked().latest(path, identity(path.stat()), meta.verified_at)
    return str(latest) > "2021"


def test_each_task_is_done_once_whatever_the_number_of_threads() -> None:
    tasks = [Task(str(number)) for number in range(200)]

    run: Run[Task, str] = Run(tasks, lambda task, _: task.name, jobs=8)
    run.go()

    assert sorted(run.results) == sorted(task.name for task in tasks)
    assert run.left == []


def test_what_does_not_fit_into_the_time_is_left_and_smaller_ones_are_done() -> None:
    tasks = [Task("first", 1000), Task("huge", 10**12), Task("small", 10)]

    def work(task: Task, told: Progress) -> str:
        time.sleep(0.05)
        told(task.size)
        return task.name

    run: Run[Task, str] = Run(tasks, work, jobs=1, max_seconds=5)
    run.go()

    assert run.results == ["first", "small"]
    assert [task.name for task in run.left] == ["huge"]


def test_no_time_at_all_still_gets_something_done() -> None:
    run: Run[Task, str] = Run(
        [Task("a"), Task("b"), Task("c")], lambda task, _: task.name, jobs=1, max_seconds=0
    )
    run.go()

    assert run.results == ["a"]
    assert [task.name for task in run.left] == ["b", "c"]


def test_a_failure_stops_all_threads_and_is_raised() -> None:
    def work(task: Task, told: Progress) -> str:
        if task.name == "0":
            raise ValueError(task.name)
        for _ in range(1000):
            told(1)
            time.sleep(0.001)
        return task.name

    run: Run[Task, str] = Run([Task(str(n)) for n in range(50)], work, jobs=2)
    with pytest.raises(ValueError, match="0"):
        run.go()
    assert len(run.results) + len(run.left) == 50


def test_what_was_not_verified_for_longest_comes_first(store: Store) -> None:
    digests = aged(store, 9)

    report = verify(store, reversed(digests), jobs=1, max_seconds=0)

    assert [verified(store, digest) for digest in digests] == [True] + [False] * 8
    assert (report.files, report.remaining.files) == (1, 8)
    assert report.ok


def test_good_contents_cost_no_new_side_file(store: Store) -> None:
    (digest,) = aged(store, 1)
    side = store.layout.meta(digest)
    before = side.stat()
    verify(store, [digest])
    assert (side.stat().st_ino, side.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert verified(store, digest)

    flip(store.path(digest))
    assert verify(store, [digest]).corrupt
    assert metas.is_marked(side)
    flip(store.path(digest))
    assert verify(store, [digest]).repaired == (digest,)
    assert not metas.is_marked(side)


def test_a_time_that_is_none_does_not_count(store: Store) -> None:
    (digest,) = aged(store, 1)
    path = store.path(digest)
    store.checked().good(path, identity(path.stat()), "2026-11-21T02026-11-21T06:00:00Z")
    assert not verified(store, digest)


def test_runs_that_have_little_time_get_through_all(store: Store) -> None:
    digests = aged(store, 9)

    for _ in range(9):
        verify(store, digests, jobs=1, max_seconds=0)

    assert all(verified(store, digest) for digest in digests)


def test_what_is_known_to_be_bad_is_looked_at_whatever_the_time(store: Store) -> None:
    digests = aged(store, 5)
    flip(store.path(digests[-1]))
    verify(store, digests)

    report = verify(store, digests, jobs=1, max_seconds=0)

    assert [one.digest for one in report.corrupt] == [digests[-1]]


def test_killed_anywhere_the_next_run_goes_on(store: Store) -> None:
    digests = aged(store, 8)

    child = forks.start(lambda: verify(store, digests, jobs=1).ok, sync="kill:checked:noted#4")
    assert child.killed()

    done = [verified(store, digest) for digest in digests]
    assert done == [True] * 4 + [False] * 4
    verify(store, digests, jobs=1, max_seconds=0)
    assert verified(store, digests[4])


def test_interrupted_it_says_what_it_found(store: Store) -> None:
    digests = aged(store, 6)
    flip(store.path(digests[0]))
    seen: list[VerifyReport] = []

    def stop(_: int) -> None:
        if verified(store, digests[2]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(store, digests, jobs=1, progress=stop, interrupted=seen.append)

    (report,) = seen
    assert report.interrupted
    assert [one.digest for one in report.corrupt] == [digests[0]]
    assert report.files == 3
    assert report.remaining.files == 3


def test_quick_reads_only_what_has_changed(store: Store) -> None:
    digests = aged(store, 6)
    changed, unseen, same = digests[0], digests[1], digests[2]
    os.utime(store.path(changed))
    store.layout.meta(unseen).unlink()
    flip(store.path(same))  # as it was, from outside: only reading finds it

    report = verify(store, digests, quick=True)

    assert report.ok
    assert (report.files, report.unchanged) == (2, 4)
    assert [one.digest for one in verify(store, digests).corrupt] == [same]
    assert [one.digest for one in verify(store, digests, quick=True).corrupt] == [same]


def test_files_outside_are_remembered_too(store: Store, tmp_path: Path) -> None:
    digest = put(store, b"outside")
    log = tmp_path / "log" / "hub"
    copies = []
    for number in range(4):
        path = tmp_path / f"copy {number}"
        path.write_bytes(b"outside")
        copies.append(Copy(digest, path, 7, "org/model"))

    def check(*, quick: bool = False, seconds: float | None = None) -> VerifyReport:
        return verify(
            store,
            (),
            copies=copies,
            checked=Checked(log),
            jobs=1,
            quick=quick,
            max_seconds=seconds,
        )

    for _ in range(4):
        assert check(seconds=0).remaining.files == 3
    quick = check(quick=True)
    assert (quick.files, quick.unchanged) == (0, 4)
    copies[1].path.write_bytes(b"edited!")
    quick = check(quick=True)
    assert [one.path for one in quick.corrupt] == [str(copies[1].path)]


def test_a_torn_or_strange_log_costs_hashing_only(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "file"
    file.write_bytes(b"x")
    known = identity(file.stat())
    Checked(log).good(file, known, LONG_AGO)
    with log.open("ab") as out:
        out.write(b"\xff\xfe garbage\n\n2020 1 2 three /x\n2020-01-01T00:00:00Z 1 2 3 /torn")

    checked = Checked(log)

    assert checked.when(file) == LONG_AGO
    assert checked.is_as_it_was(file, known)
    assert checked.when(Path("/torn")) is None


def test_a_worn_log_is_written_anew(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "file"
    file.write_bytes(b"x")
    checked = Checked(log)
    for _ in range(1200):
        checked.good(file, identity(file.stat()), LONG_AGO)

    Checked(log).prepare()

    assert len(log.read_bytes().splitlines()) == 1
    assert Checked(log).when(file) == LONG_AGO


def test_a_pipe_in_place_of_a_blob_does_not_hang(store: Store) -> None:
    digest = put(store, b"content")
    store.path(digest).unlink()
    os.mkfifo(store.path(digest))
    found: list[VerifyReport] = []

    thread = threading.Thread(target=lambda: found.append(verify(store, [digest])), daemon=True)
    thread.start()
    thread.join(20)

    assert [one.digest for one in found[0].unverifiable] == [digest]
