"""A collector that is killed or stopped at any step leaves a keep that is right, and less to do."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir

from modelkeep.hub.removal.remove import Removal
from modelkeep.keep import Keep
from modelkeep.store import marks
from tests import forks
from tests.hub import Hub
from tests.keeping import held_by, loaded
from tests.models import random_bytes

MIB = 1 << 20
SHARED = random_bytes(MIB + 5, 1)


@pytest.fixture
def keep(keep_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Keep:
    monkeypatch.setattr(marks, "_LIFETIME_S", 0.1)
    return Keep.create(keep_dir)


def fill(keep: Keep, hub: Hub, number: int) -> dict[str, dict[str, bytes]]:
    """Two repos that share weights, to be evicted and to stay, and a third one's lost blobs."""
    contents = {}
    for name in ("goes", "stays", "lost"):
        files = {
            "config.json": f"{name} {number}".encode(),
            "own.bin": random_bytes(MIB + 1, hash_of(name, number)),
            "shared.bin": SHARED,
        }
        contents[f"org/{name}{number}"] = files
        hub.repo(f"org/{name}{number}").commit(files)
        keep.pull(f"org/{name}{number}")
    shutil.rmtree(keep.hub.folder(held_by(keep, f"org/lost{number}").repo))
    return contents


def hash_of(name: str, number: int) -> int:
    return sum(name.encode()) * 1000 + number


def collect(keep: Keep, number: int) -> Removal:
    return keep.collect(keep.plan_collection(match=f"goes{number}", grace=0))


def right(keep: Keep, number: int, files: dict[str, bytes]) -> None:
    """What stays is whole, and what is shown loads or is not shown."""
    assert loaded(keep, f"org/stays{number}") == files
    assert keep.is_complete(f"org/stays{number}")
    assert not scan_cache_dir(keep.hub.directory).warnings


def test_killed_after_any_step(keep: Keep, hub: Hub, tmp_path: Path) -> None:
    fill(keep, hub, 0)
    steps = forks.steps(lambda: collect(keep, 0), tmp_path / "steps.log")
    assert len(steps) > 10
    for number, step in enumerate(steps, 1):
        contents = fill(keep, hub, number)
        assert forks.start(partial(collect, keep, number), sync=f"kill:{step}").killed(), step

        right(keep, number, contents[f"org/stays{number}"])
        again = forks.run(partial(collect, keep, number))

        right(keep, number, contents[f"org/stays{number}"])
        goes = {held.repo for held in keep.list().repos}
        assert f"org/goes{number}" not in goes, step
        assert again.dry_run is False
        keep.remove(keep.plan_removal(f"org/stays{number}"))
    assert keep.verify().ok


@pytest.mark.parametrize(
    "step",
    [
        "remove:announced",
        "remove:hidden",
        "remove:hiding#2",
        "remove:looked",
        "remove:taking",
        "remove:taking#2",
        "remove:taken",
        "release:condemned",
        "release:trashed",
    ],
)
def test_stopped_while_the_same_is_pulled_again(keep: Keep, hub: Hub, step: str) -> None:
    """Consumers lose patience with the stopped collector; when it goes on it takes nothing."""
    contents = fill(keep, hub, 1)
    collector = forks.start(partial(collect, keep, 1), sync=f"stop:{step}")
    collector.stopped()
    for name in ("org/goes1", "org/lost1"):
        forks.run(partial(keep.pull, name))
    collector.resume()
    collector.result()

    for name in contents:
        if name in {held.repo for held in keep.list().repos}:
            assert keep.is_complete(name), name
            assert loaded(keep, name) == contents[name], name
    right(keep, 1, contents["org/stays1"])
    assert {"org/lost1", "org/stays1"} <= {held.repo for held in keep.list().repos}
    assert not list(keep.store.layout.condemned_marks.iterdir())
