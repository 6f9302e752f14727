"""A store blob that rotted without a trace is healed by a good copy, never given preference."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.keep import Keep
from modelkeep.store.verify import verify
from tests.adopt.conftest import COMMON, IN_A, IN_B
from tests.adopt.support import adopt, loads
from tests.caches import digest, write
from tests.hub import Hub
from tests.keeping import loaded
from tests.store.support import flip

MODEL = {"config.json": b"{}", "model.safetensors": COMMON}


@pytest.fixture
def rotten(keep: Keep, a: Path) -> Keep:
    """A keep that has one content from a cache, with one bit that its disk has lost since."""
    adopt(keep, a)
    flip(keep.store.path(digest(COMMON)), 12345)
    assert keep.store.has_sound(digest(COMMON))
    return keep


def is_whole(keep: Keep) -> bool:
    return verify(keep.store, [name for name, _ in keep.store.blobs()]).ok


@pytest.mark.parametrize("merge", [False, True])
def test_adopting_heals_it(rotten: Keep, a: Path, b: Path, merge: bool) -> None:
    (adopted,) = adopt(rotten, b, merge=merge)

    assert not adopted.corrupt
    assert loads(b, IN_B)
    assert is_whole(rotten)
    assert loads(a, IN_A)


def test_adding_heals_it(rotten: Keep, a: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, data in MODEL.items():
        (folder / name).write_bytes(data)

    rotten.add(folder, "org/mine")

    assert is_whole(rotten)
    assert loads(a, IN_A)
    assert loaded(rotten, "org/mine") == MODEL


def test_settling_heals_it(rotten: Keep, a: Path) -> None:
    write(rotten.hub.directory, *IN_B)

    rotten.settle()

    assert loads(rotten.hub.directory, IN_B)
    assert is_whole(rotten)


def test_a_pull_does_not_put_it_in_place_of_a_good_file(rotten: Keep, hub: Hub) -> None:
    hub.repo("org/other").commit(MODEL)
    blob = rotten.hub.directory / "models--org--other/blobs" / digest(COMMON).etag
    blob.parent.mkdir(parents=True)
    blob.write_bytes(COMMON)

    rotten.pull("org/other")

    assert loaded(rotten, "org/other") == MODEL
    assert is_whole(rotten)
