"""Several processes that want the same files: each is fetched once."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from modelkeep.fs import locks
from modelkeep.fs.syncpoint import VARIABLE
from tests.fetch.support import Place, noise, publish, start_child, wanted
from tests.hub import Hub

MIB = 1 << 20


def test_many_processes_fetch_each_file_once(hub: Hub, place: Place) -> None:
    files = {f"{n}.bin": noise(300_000 + n, seed=n) for n in range(8)}
    repo = publish(hub, files)
    todo = [wanted(hub, repo, name, data) for name, data in files.items()]
    hub.latency = 0.1
    children = [start_child(place, todo) for _ in range(16)]
    reports = []
    for child in children:
        out, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
        reports.append(json.loads(out))
    for item in todo:
        assert len(hub.gets(f"*/{item.digest.hex}/*")) == 1
        assert place.path(item.digest).read_bytes() == files[item.name]
    assert sum(report["files"] for report in reports) == 8
    assert place.leftovers() == []


def test_what_another_process_fetches_is_waited_for_last_and_said(hub: Hub, place: Place) -> None:
    files = {"other.bin": noise(900, seed=1), "mine.bin": noise(800, seed=2)}
    repo = publish(hub, files)
    theirs, mine = (wanted(hub, repo, name, data) for name, data in files.items())
    (place.root / "locks").mkdir()
    lock = place.root / "locks" / f"fetch-{theirs.digest.file_name}.lock"
    original = place.told.waiting

    with locks.hold(lock):
        held = True

        def waiting(reason: str, seconds: float) -> None:
            nonlocal held
            original(reason, seconds)
            if held:
                place.path(theirs.digest).write_bytes(files["other.bin"])
                lock.unlink()  # as good as letting go: others lock a new file
                held = False

        place.told.waiting = waiting  # type: ignore[method-assign]
        report = place.fetch([theirs, mine])
    assert (report.files, report.by_others) == (1, 1)
    assert place.told.names == ["mine.bin", "other.bin"]
    assert place.told.waits[0][0] == "another process is fetching `other.bin`"
    assert hub.gets("other.bin") == []


def test_whoever_waits_goes_on_when_the_other_is_killed(hub: Hub, place: Place) -> None:
    data = noise(40 * MIB)
    repo = publish(hub, {"a.bin": data})
    todo = [wanted(hub, repo, "a.bin", data)]
    hub.rate_limit_per_connection(1 * MIB)
    first = start_child(place, todo, streams=8)
    while hub.bytes_sent() < 10 * MIB:
        time.sleep(0.01)
    second = start_child(place, todo)
    time.sleep(1)
    hub.rate_limit_per_connection(None)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
    out, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert json.loads(out)["bytes_resumed"] > 5 * MIB
    assert place.path(todo[0].digest).read_bytes() == data


def test_without_real_locks_each_process_has_its_own_partial(hub: Hub, place: Place) -> None:
    data = noise(40 * MIB)
    repo = publish(hub, {"a.bin": data})
    todo = [wanted(hub, repo, "a.bin", data)]
    stopped = start_child(place, todo, flock=False, sync="stop:fetch:verified")
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
    assert len(place.leftovers()) == 1
    report = place.fetch(todo, flock=False)
    assert (report.bytes_resumed, report.files) == (0, 1)
    assert len(place.leftovers()) == 1
    os.kill(stopped.pid, signal.SIGCONT)
    _, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 0, errors
    assert place.path(todo[0].digest).read_bytes() == data
    assert place.leftovers() == []


@pytest.fixture(autouse=True)
def _no_sync_points_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
