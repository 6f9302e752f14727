"""A disk without a free block or inode: a removal still gives room back, and loses nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.filesystems import loop
from tests.hub import Hub
from tests.keeping import held_by, loaded
from tests.models import random_bytes

from modelkeep.errors import NoSpaceError
from modelkeep.fs.mounts import fs_type
from modelkeep.hub.removal.remove import Removal
from modelkeep.keep import Keep
from modelkeep.store import ballast

pytestmark = pytest.mark.real

MIB = 1 << 20


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small disk: too small for ballast to be made by itself, but for XFS."""
    with loop(tmp_path, request.param, {"ext4": 64, "xfs": 320, "btrfs": 128}[request.param]) as at:
        yield at


def fill(disk: Path) -> None:
    """Take every free block for content; btrfs would put smaller files among its metadata."""
    for size in (MIB, 64 << 10, 4096):
        number = 0
        while True:
            path = disk / f"filler-{size}-{number}"
            number += 1
            try:
                with path.open("wb", buffering=0) as file:
                    while file.write(bytes(size)):
                        pass
            except OSError:
                if number > 3:
                    break
    os.sync()


def crowd(disk: Path) -> None:
    """Take every free inode."""
    folder = disk / "crowd"
    folder.mkdir()
    for number in count():
        try:
            (folder / str(number)).touch()
        except OSError:
            break
    os.sync()


def models(keep: Keep, hub: Hub) -> dict[str, dict[str, bytes]]:
    contents = {}
    for number, name in enumerate(("org/old", "org/new", "org/lost")):
        contents[name] = {
            "config.json": name.encode(),
            "model.safetensors": random_bytes(4 * MIB, number),
        }
        hub.repo(name).commit(contents[name])
        keep.pull(name)
        for file in held_by(keep, name).files:
            os.utime(keep.store.layout.used(file.digest), (1e9 + number, 1e9 + number))
    shutil.rmtree(keep.hub.folder(held_by(keep, "org/lost").repo))
    return contents


def collect(keep: Keep, **wish: object) -> Removal:
    return keep.collect(keep.plan_collection(grace=0, **wish))  # type: ignore[arg-type]


def test_a_full_disk_has_room_again(disk: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Keep.create(disk / "keep")
    contents = models(keep, hub)
    if fs_type(disk) == "xfs":  # makes no file, not even an empty one, without a free block
        monkeypatch.setattr(ballast, "_ROOM", 0)
        ballast.make(keep.store.layout)
    fill(disk)

    removal = collect(keep, match="old")

    assert removal.bytes_freed >= 8 * MIB
    assert [held.repo for held in keep.list().repos] == ["org/new"]
    assert loaded(keep, "org/new") == contents["org/new"]
    assert keep.verify().ok
    assert not list(keep.store.layout.condemned_marks.iterdir())
    assert not list(keep.store.layout.trash.iterdir())


@pytest.mark.parametrize("by_name", [True, False])
def test_a_disk_that_can_hold_no_more_files_can_again(
    by_name: bool, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ballast, "_ROOM", 0)
    with loop(tmp_path, "ext4", 64) as disk:
        keep = Keep.create(disk / "keep")
        contents = models(keep, hub)
        crowd(disk)

        if by_name:
            removal = keep.remove(keep.plan_removal("org/old"))
        else:
            removal = collect(keep, match="old")

        assert removal.bytes_freed >= 4 * MIB
        assert [held.repo for held in keep.list().repos] == ["org/new"]
        assert loaded(keep, "org/new") == contents["org/new"]
        assert keep.store.layout.ballast.exists()


def test_where_there_is_no_ballast_the_advice_is_not_to_collect(tmp_path: Path, hub: Hub) -> None:
    with loop(tmp_path, "ext4", 64) as disk:
        keep = Keep.create(disk / "keep")
        models(keep, hub)
        crowd(disk)
        with pytest.raises(NoSpaceError) as caught:
            collect(keep, match="old")
        assert "remove another file" in (caught.value.hint or "")


def test_a_pull_onto_a_full_disk_fails_clearly_and_works_after_gc(
    disk: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ballast, "_ROOM", 0)
    keep = Keep.create(disk / "keep")
    models(keep, hub)
    wanted = {"config.json": b"{}", "model.safetensors": random_bytes(6 * MIB, 9)}
    hub.repo("org/wanted").commit(wanted)
    fill(disk)
    with pytest.raises(NoSpaceError) as caught:
        keep.pull("org/wanted")
    assert caught.value.exit_code == 6

    collect(keep, everything=True)
    keep.pull("org/wanted")

    assert loaded(keep, "org/wanted") == wanted
    assert keep.store.layout.ballast.exists()
