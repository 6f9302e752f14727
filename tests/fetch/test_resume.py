"""What has arrived stays: across Ctrl-C, kill -9 and a reboot."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from modelkeep.hub.fetch import Wanted
from tests.fetch.support import Place, Told, noise, open_descriptors, publish, start_child, wanted
from tests.hub import Hub

MIB = 1 << 20
DATA = noise(48 * MIB)
STEPS = [
    *("fetch:started", "fetch:noted", "fetch:noted#9", "fetch:synced", "fetch:recorded"),
    *("fetch:verified", "fetch:delivered", "fetch:done"),
]


@pytest.fixture
def todo(hub: Hub) -> list[Wanted]:
    repo = publish(hub, {"model.safetensors": DATA})
    return [wanted(hub, repo, "model.safetensors", DATA)]


@pytest.mark.parametrize("flock", [True, False], ids=["locks", "no locks"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_costs_little(
    hub: Hub, place: Place, todo: list[Wanted], step: str, flock: bool
) -> None:
    hub.rate_limit_per_connection(3 * MIB)  # slow enough for something to be synced on the way
    child = start_child(place, todo, flock=flock, streams=8, sync=f"kill:{step}")
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    hub.rate_limit_per_connection(None)
    report = place.fetch(todo, flock=flock)
    assert place.path(todo[0].digest).read_bytes() == DATA
    assert hub.bytes_sent() <= len(DATA) * 1.5  # whole socket buffers count as sent
    if step in ("fetch:delivered", "fetch:done"):
        assert report.files == 0
        return
    assert report.bytes_resumed + report.bytes_fetched >= len(DATA)
    assert (report.bytes_resumed > 0) == (step != "fetch:started")
    assert place.leftovers() == []
    if step == "fetch:verified":
        assert report.bytes_fetched == 0


def test_five_kills_at_random_cost_less_than_five_percent(
    hub: Hub, place: Place, todo: list[Wanted]
) -> None:
    hub.rate_limit_per_connection(2 * MIB)
    chance = random.Random(5)
    for cut in range(5):
        child = start_child(place, todo)
        goal = len(DATA) * (cut + chance.random()) / 6
        while hub.bytes_sent() < goal:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate(timeout=60)
    hub.rate_limit_per_connection(None)
    place.fetch(todo)
    assert place.path(todo[0].digest).read_bytes() == DATA
    # The file of the issue is 1 GiB (benchmarks/fetch.py); what a cut costs does not grow with it.
    assert hub.bytes_sent() - len(DATA) <= 0.05 * (1 << 30)


def test_ctrl_c_ends_it_soon_and_keeps_what_came(
    hub: Hub, place: Place, todo: list[Wanted]
) -> None:
    hub.rate_limit_per_connection(2 * MIB)
    child = start_child(place, todo)
    while hub.bytes_sent() < 12 * MIB:
        time.sleep(0.01)
    began = time.monotonic()
    os.kill(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert "KeyboardInterrupt" in errors
    hub.rate_limit_per_connection(None)
    report = place.fetch(todo)
    assert report.bytes_resumed >= 10 * MIB


def test_an_interrupt_leaves_no_thread_and_no_descriptor(
    hub: Hub, place: Place, todo: list[Wanted]
) -> None:
    hub.rate_limit_per_connection(2 * MIB)
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    place.told = _Interrupts()
    with pytest.raises(KeyboardInterrupt):
        place.fetch(todo)
    left = [t for t in set(threading.enumerate()) - threads if t.name.startswith("modelkeep")]
    assert left == []
    hub.down()
    time.sleep(0.2)
    assert open_descriptors() <= descriptors
    assert len(place.leftovers()) == 1


def test_it_goes_on_in_another_repo_that_holds_the_content(
    hub: Hub, place: Place, todo: list[Wanted]
) -> None:
    child = start_child(place, todo, sync="kill:fetch:verified")
    child.communicate(timeout=60)
    repo = publish(hub, {"renamed.bin": DATA}, "org/other")
    report = place.fetch([wanted(hub, repo, "renamed.bin", DATA)])
    assert (report.bytes_fetched, report.bytes_resumed) == (0, len(DATA))


def test_after_a_reboot_only_what_was_synced_counts(
    hub: Hub, place: Place, todo: list[Wanted]
) -> None:
    child = start_child(place, todo, sync="kill:fetch:verified")
    child.communicate(timeout=60)
    (left,) = place.leftovers()
    _rewrite(left / "ranges", boot="another boot", durable=[(0, 10 * MIB)])
    report = place.fetch(todo)
    assert report.bytes_resumed == 10 * MIB
    assert report.bytes_fetched == len(DATA) - 10 * MIB
    assert place.path(todo[0].digest).read_bytes() == DATA


@pytest.mark.parametrize("harm", ["truncated", "other size", "no header", "out of bounds"])
def test_a_record_that_does_not_fit_is_worth_nothing(
    hub: Hub, place: Place, todo: list[Wanted], harm: str
) -> None:
    child = start_child(place, todo, sync="kill:fetch:verified")
    child.communicate(timeout=60)
    (left,) = place.leftovers()
    record = left / "ranges"
    if harm == "truncated":
        os.truncate(left / "content", 5)
    elif harm == "other size":
        record.write_text(record.read_text().replace(str(len(DATA)), "77"))
    elif harm == "no header":
        record.write_text("\n".join(record.read_text().split("\n")[1:]))
    else:
        record.write_text(record.read_text() + f"w 0 {len(DATA) + 1}\n")
    report = place.fetch(todo)
    assert report.bytes_resumed == 0
    assert place.path(todo[0].digest).read_bytes() == DATA


def test_a_record_that_lies_costs_one_more_fetch_and_nothing_else(
    hub: Hub, place: Place, todo: list[Wanted]
) -> None:
    child = start_child(place, todo, sync="kill:fetch:verified")
    child.communicate(timeout=60)
    (left,) = place.leftovers()
    with (left / "content").open("r+b") as content:
        content.seek(1000)
        content.write(b"\0" * 5000)
    report = place.fetch(todo)
    assert report.bytes_fetched == len(DATA)
    assert place.path(todo[0].digest).read_bytes() == DATA
    assert place.told.notes == ["`model.safetensors` arrived damaged, fetching it again"]


def _rewrite(record: Path, *, boot: str, durable: list[tuple[int, int]]) -> None:
    head, *lines = record.read_text().splitlines()
    header = json.loads(head)
    header["owner"]["boot"] = boot
    kept = [line for line in lines if line.startswith("w")]
    kept += [f"d {start} {stop}" for start, stop in durable]
    record.write_text("\n".join([json.dumps(header), *kept]) + "\n")


class _Interrupts(Told):
    def advanced(self, count: int) -> None:
        super().advanced(count)
        if self.arrived > 8 * MIB:
            raise KeyboardInterrupt
