"""Locks: one holder at a time, patience with a limit, and none where there can be none."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from modelkeep.errors import BusyError, ModelkeepError
from modelkeep.fs import durable, locks
from tests.filesystems import as_user, public_directory
from tests.fs.looking import mode_of, names

HOLD = """
import sys, time; from pathlib import Path; from modelkeep.fs import locks
with locks.hold(Path(sys.argv[1])) as held:
    print(held, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A lock that another process holds, and that process."""
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        yield path, child
        child.kill()


def test_a_free_lock_is_held_and_its_file_stays(disk: Path) -> None:
    path = disk / "lock"

    for _ in range(2):
        with locks.hold(path) as held:
            assert held is True
            assert names(disk) == {"lock"}

    assert names(disk) == {"lock"}


def test_a_second_holder_is_refused_at_once_when_it_does_not_want_to_wait(disk: Path) -> None:
    with locks.hold(disk / "lock"):
        started = time.monotonic()
        with (
            pytest.raises(BusyError, match="another process holds the lock") as caught,
            locks.hold(disk / "lock", timeout=0),
        ):
            pass

    assert time.monotonic() - started < 2
    assert caught.value.exit_code == 3
    assert caught.value.path == str(disk / "lock")


def test_waiting_ends_with_the_time_allowed_and_is_told_of(
    holder: tuple[Path, subprocess.Popen[str]],
) -> None:
    path, _ = holder
    told: list[float] = []
    started = time.monotonic()

    with pytest.raises(BusyError), locks.hold(path, timeout=2.8, on_wait=told.append):
        pass

    assert 2.8 <= time.monotonic() - started < 10
    assert [int(seconds) for seconds in told] == [1, 2]


def test_the_lock_of_a_killed_process_is_free(holder: tuple[Path, subprocess.Popen[str]]) -> None:
    path, child = holder
    threading.Timer(0.3, child.kill).start()

    with locks.hold(path, timeout=20) as held:
        assert held is True


def test_waiting_can_be_interrupted(holder: tuple[Path, subprocess.Popen[str]]) -> None:
    path, _ = holder
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt), locks.hold(path, timeout=20):
        pass


def test_an_error_in_the_block_passes_and_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(LookupError), locks.hold(tmp_path / "lock"):
        raise LookupError

    with locks.hold(tmp_path / "lock", timeout=0) as held:
        assert held is True


def test_holders_in_many_processes_do_not_overlap(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    spans = context.SimpleQueue()

    def work() -> None:
        for _ in range(5):
            with locks.hold(tmp_path / "lock", timeout=60):
                start = time.monotonic_ns()
                time.sleep(0.005)
                spans.put((start, time.monotonic_ns()))

    processes = [context.Process(target=work) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    found = sorted(spans.get() for _ in range(20))
    assert all(one[1] <= other[0] for one, other in pairwise(found))


def test_threads_exclude_each_other_too(tmp_path: Path) -> None:
    refused: list[bool] = []

    def attempt() -> None:
        try:
            with locks.hold(tmp_path / "lock", timeout=0):
                refused.append(False)
        except BusyError:
            refused.append(True)

    with locks.hold(tmp_path / "lock"):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()

    assert refused == [True]


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with locks.hold(tmp_path / "lock"):
        child = context.Process(target=time.sleep, args=(60,))
        child.start()
    try:
        with locks.hold(tmp_path / "lock", timeout=0) as held:
            assert held is True
    finally:
        child.kill()
        child.join()


def test_a_lock_file_replaced_while_waiting_is_not_mistaken_for_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    got: list[os.stat_result] = []

    def wait() -> None:
        with locks.hold(path, timeout=20):
            got.append(path.stat())
            with pytest.raises(BusyError), locks.hold(path, timeout=0):
                pass

    with locks.hold(path):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        path.unlink()
        durable.write_bytes(path, b"", mode=0o666)
    thread.join()

    assert len(got) == 1


@pytest.mark.real
def test_a_lock_of_one_user_is_open_to_all_whatever_the_umask() -> None:
    with public_directory() as shared:
        path = shared / "lock"
        old = os.umask(0o077)
        try:
            with locks.hold(path):
                pass
        finally:
            os.umask(old)

        def hold() -> bool:
            with locks.hold(path, timeout=0) as held:
                return held

        assert mode_of(path) == 0o666
        assert as_user(4242, hold) is True


@pytest.mark.real
def test_a_lock_file_one_may_not_open_is_no_lock() -> None:
    with public_directory() as shared:
        path = shared / "lock"
        path.touch(0o600)

        def hold() -> bool:
            with locks.hold(path) as held:
                return held

        assert as_user(4242, hold) is False


@pytest.mark.parametrize("answer", ["ENOSYS", "ENOLCK", "EOPNOTSUPP", "EROFS"])
def test_without_flock_the_work_goes_on(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # File systems without flock (some NFS, Lustre, FUSE) are not to be had here.
    def refusing(fd: int, operation: int) -> None:
        raise OSError(getattr(errno, answer), "no locks")

    monkeypatch.setattr(fcntl, "flock", refusing)

    with locks.hold(tmp_path / "lock", timeout=0) as held:
        assert held is False


def test_without_hard_links_lock_files_are_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # FAT and many FUSE file systems answer EPERM; no such file system is sure to be installed.
    def refusing(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refusing)

    with locks.hold(tmp_path / "lock") as held:
        assert held is True
    assert names(tmp_path) == {"lock"}


def test_a_missing_directory_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locks.hold(tmp_path / "no" / "lock"):
        pass


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ModelkeepError), locks.hold(tmp_path / "lock"):
        pass

    assert not (tmp_path / "elsewhere").exists()
