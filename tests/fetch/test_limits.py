"""Limits of bandwidth and of room."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.errors import NoSpaceError
from tests.fetch.support import Place, noise, open_descriptors, publish, wanted
from tests.filesystems import tmpfs
from tests.hub import Hub

MIB = 1 << 20


def test_a_limited_fetch_takes_the_time_it_should(hub: Hub, place: Place) -> None:
    data = noise(40 * MIB)
    repo = publish(hub, {"a.bin": data})
    report = place.fetch([wanted(hub, repo, "a.bin", data)], limit_rate=20 * MIB)
    assert report.seconds >= 1.8


def test_many_small_files_are_limited_too(hub: Hub, place: Place) -> None:
    files = {f"{n}.json": noise(100_000, seed=n) for n in range(40)}
    repo = publish(hub, files)
    todo = [wanted(hub, repo, name, data) for name, data in files.items()]
    assert place.fetch(todo, limit_rate=4_000_000).seconds >= 0.8


@pytest.mark.real
def test_a_full_disk_is_said_and_what_came_is_kept(hub: Hub, tmp_path: Path) -> None:
    data = noise(40 * MIB)
    repo = publish(hub, {"a.bin": data})
    with tmpfs(tmp_path, size_mb=24) as directory:
        place = Place(directory / "place", hub.endpoint)
        descriptors = open_descriptors()
        with pytest.raises(NoSpaceError):
            place.fetch([wanted(hub, repo, "a.bin", data)])
        assert len(place.leftovers()) == 1
        hub.down()
        assert open_descriptors() <= descriptors
