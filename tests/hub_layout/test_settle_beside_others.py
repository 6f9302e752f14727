"""Settling brings back nothing that goes meanwhile, and stops nothing that it is a part of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from modelkeep.errors import BusyError, NoSpaceError
from modelkeep.keep import Keep
from tests import forks
from tests.filesystems import need_root, tmpfs
from tests.hub import Hub
from tests.keeping import held_by, loaded
from tests.models import random_bytes

MIB = 1 << 20
FILES = {"config.json": b"{}", "model.safetensors": random_bytes(2 * MIB, 5)}


@pytest.fixture
def brought(keep: Keep, hub: Hub) -> Path:
    """The snapshot of a client that made no links."""
    hub.repo("org/brought").commit(FILES)
    top = Path(
        snapshot_download("org/brought", cache_dir=keep.hub.directory, endpoint=hub.endpoint)
    )
    for path in FILES:
        blob = (top / path).resolve()
        (top / path).unlink()
        blob.rename(top / path)
    return top


def test_a_removal_meanwhile_is_refused(keep: Keep, brought: Path) -> None:
    plan = keep.plan_removal("org/brought")
    child = forks.start(keep.settle, sync="stop:settle:placed")
    child.stopped()
    with pytest.raises(BusyError, match="modelkeep settle"):
        keep.remove(plan)
    child.resume()
    assert child.result().files == 2
    assert loaded(keep, "org/brought") == FILES
    keep.remove(plan)
    assert keep.list().repos == ()


def test_a_snapshot_that_a_client_removes_stays_away(keep: Keep, brought: Path) -> None:
    child = forks.start(keep.settle, sync="stop:settle:placed")
    child.stopped()
    shutil.rmtree(brought)
    child.resume()
    assert child.result().files == 0
    assert not brought.exists()


def test_a_pull_of_what_is_complete_needs_no_room_to_settle(tmp_path: Path, hub: Hub) -> None:
    """Another user's file, which only a copy could settle, is larger than what is free."""
    need_root()
    repo = hub.repo("org/model")
    repo.commit(FILES)
    with tmpfs(tmp_path, 64) as disk:
        keep = Keep.create(disk / "keep")
        first = keep.pull("org/model").commit
        repo.commit({"large.bin": random_bytes(40 * MIB, 6)}, update=True)
        large = (
            Path(
                snapshot_download("org/model", cache_dir=keep.hub.directory, endpoint=hub.endpoint)
            )
            / "large.bin"
        )
        os.chown(large.resolve(), 12345, 12345)
        with pytest.raises(NoSpaceError):
            keep.settle()

        pulled = keep.pull("org/model", first)

        assert (pulled.commit, pulled.bytes_fetched) == (first, 0)
        assert held_by(keep, "org/model", first).files
