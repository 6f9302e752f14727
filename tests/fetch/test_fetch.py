"""What a fetch promises when nothing goes wrong."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from modelkeep.hub.fetch import Wanted
from tests.fetch.support import Place, noise, open_descriptors, publish, wanted
from tests.hub import Hub

MIB = 1 << 20


def test_files_of_every_size_arrive_as_they_are(hub: Hub, place: Place) -> None:
    files = {
        "empty.txt": b"",
        "config.json": b"{}",
        "tokenizer.model": noise(3 * MIB),
        "model.safetensors": noise(70 * MIB + 12345),
    }
    repo = publish(hub, files)
    todo = [wanted(hub, repo, name, data) for name, data in files.items()]
    report = place.fetch(todo)
    for item in todo:
        assert place.path(item.digest).read_bytes() == files[item.name]
    assert report.files == len(files)
    assert report.bytes_fetched == sum(map(len, files.values())) == place.told.arrived
    assert (report.bytes_resumed, report.retries, report.by_others) == (0, 0, 0)
    assert sorted(place.told.names) == sorted(files)
    assert place.leftovers() == []


def test_a_small_file_costs_one_request_and_a_link_is_asked_for_once(
    hub: Hub, place: Place
) -> None:
    files = {"config.json": b"{}", "model.safetensors": noise(64 * MIB)}
    repo = publish(hub, files)
    place.fetch([wanted(hub, repo, name, data) for name, data in files.items()])
    assert len(hub.matching("config.json")) == 1
    assert len(hub.matching("*", origin="hub")) == 2
    assert len(hub.gets("*")) > 4


def test_a_connection_is_used_for_one_piece_after_another(hub: Hub, place: Place) -> None:
    data = noise(64 * MIB)
    repo = publish(hub, {"model.safetensors": data})
    assert place.fetch([wanted(hub, repo, "model.safetensors", data)], max_streams=1).streams == 1
    pieces = hub.matching("*", origin="cdn")
    assert len(pieces) > 1
    assert len({request.connection for request in pieces}) == 1


def test_nothing_is_asked_for_what_is_there(hub: Hub, place: Place) -> None:
    data = noise(1000)
    repo = publish(hub, {"a.bin": data})
    place.path(wanted(hub, repo, "a.bin", data).digest).write_bytes(data)
    report = place.fetch([wanted(hub, repo, "a.bin", data)])
    assert report.files == 0
    assert hub.requests == []


def test_the_same_content_under_two_names_is_fetched_once(hub: Hub, place: Place) -> None:
    data = noise(1000)
    repo = publish(hub, {"a.bin": data, "b.bin": data})
    report = place.fetch([wanted(hub, repo, name, data) for name in ("a.bin", "b.bin")])
    assert (report.files, report.bytes_fetched) == (1, 1000)


def test_nothing_is_left_open_or_running(hub: Hub, place: Place) -> None:
    data = noise(40 * MIB)
    repo = publish(hub, {"a.bin": data})
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    place.fetch([wanted(hub, repo, "a.bin", data)])
    ours = [t for t in set(threading.enumerate()) - threads if t.name.startswith("modelkeep")]
    assert ours == []
    # The server runs in this process, too, and closes its side in its own time.
    deadline = time.monotonic() + 10
    while open_descriptors() > descriptors and time.monotonic() < deadline:
        time.sleep(0.05)
    assert open_descriptors() <= descriptors


def test_an_error_while_delivering_reaches_the_caller_and_keeps_the_bytes(
    hub: Hub, place: Place
) -> None:
    data = noise(5 * MIB)
    repo = publish(hub, {"a.bin": data})
    todo = [wanted(hub, repo, "a.bin", data)]

    def refuse(item: Wanted, path: Path) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        place.fetcher().fetch(todo, have=place.have, deliver=refuse)
    report = place.fetch(todo)
    assert (report.bytes_fetched, report.bytes_resumed) == (0, len(data))
