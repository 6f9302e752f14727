"""What loads in a cache loads after a merge, or the cache stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkeep.errors import UsageError
from modelkeep.hub.repo import Repo
from modelkeep.keep import Keep
from tests.adopt.conftest import IN_A, ONLY_A
from tests.adopt.support import adopt, loads, undo
from tests.caches import etag


def elsewhere(a: Path, name: str) -> Path:
    """Move something of a cache to another place, with a link to that where it was."""
    moved = a.parent / "other-disk" / name
    moved.parent.mkdir(parents=True)
    (a / name).rename(moved)
    (a / name).symlink_to(moved)
    return moved


@pytest.mark.parametrize("name", [IN_A[1].folder, f"{IN_A[1].folder}/blobs/{etag(ONLY_A)}"])
def test_what_lies_elsewhere_is_not_cut_off(keep: Keep, a: Path, name: str) -> None:
    elsewhere(a, name)

    with pytest.raises(UsageError, match="leads out of the cache") as caught:
        keep.plan_adoption([a], merge=True, share=True)

    assert "without --merge" in str(caught.value.hint)
    assert not a.is_symlink()
    assert loads(a, IN_A)


def test_what_goes_elsewhere_after_the_plan_is_not_cut_off(keep: Keep, a: Path) -> None:
    (plan,) = keep.plan_adoption([a], merge=True, share=True)
    late = a / IN_A[0].folder / "snapshots" / IN_A[0].commit / "late.txt"
    late.write_text("late")

    with pytest.raises(UsageError, match="late"):
        keep.adopt(plan)

    assert not a.is_symlink()
    undo(keep, a)


def test_what_the_keep_has_already_does_not_stand_in_the_way(keep: Keep, a: Path) -> None:
    moved = elsewhere(a, f"{IN_A[1].folder}/blobs/{etag(ONLY_A)}")
    there = keep.hub.directory / moved.relative_to(a.parent / "other-disk")
    there.parent.mkdir(parents=True)
    there.write_bytes(ONLY_A)
    keep.hub.snapshot(_repo(), IN_A[1].commit).mkdir(parents=True)
    pointer = keep.hub.snapshot(_repo(), IN_A[1].commit) / "a.bin"
    pointer.symlink_to(f"../../blobs/{etag(ONLY_A)}")

    adopt(keep, a, merge=True)

    assert a.is_symlink()
    assert loads(a, IN_A)


@pytest.mark.parametrize("name", ["pipe", "../../blobs/pipe"])
def test_a_pipe_is_told_and_left(keep: Keep, a: Path, name: str) -> None:
    pipe = a / IN_A[0].folder / "snapshots" / IN_A[0].commit / name
    os.mkfifo(pipe)
    pointer = pipe.parent.parent / "snapshots" / IN_A[0].commit / "pointer"
    if name != "pipe":
        pointer.symlink_to("../../blobs/pipe")

    (adopted,) = adopt(keep, a, merge=True)

    assert a.is_symlink()
    assert loads(a, IN_A)
    assert [Path(skipped.path).name for skipped in adopted.skipped] == ["pipe"]


@pytest.mark.parametrize("where", ["blobs/main", "snapshots/{commit}/mine.bin"])
def test_what_is_carried_as_it_is_shares_nothing(keep: Keep, a: Path, where: str) -> None:
    folder = a / IN_A[0].folder
    file = folder / where.format(commit=IN_A[0].commit)
    file.write_bytes(ONLY_A)
    if where == "blobs/main":
        (folder / "snapshots" / IN_A[0].commit / "odd.bin").symlink_to("../../blobs/main")
    adopt(keep, a, merge=True)
    undo(keep, a)
    carried = keep.hub.directory / file.relative_to(a)

    assert file.read_bytes() == carried.read_bytes() == ONLY_A
    assert not file.samefile(carried)


def test_an_edit_of_the_keeps_own_stays_and_is_told(keep: Keep, a: Path) -> None:
    keep.hub.snapshot(_repo(), IN_A[1].commit).mkdir(parents=True)
    edited = keep.hub.snapshot(_repo(), IN_A[1].commit) / "config.json"
    edited.write_text("edited")

    (adopted,) = adopt(keep, a, merge=True)

    assert edited.read_text() == "edited"
    assert [Path(skipped.path).name for skipped in adopted.skipped] == ["config.json"]


def _repo() -> Repo:

    repo = Repo.from_folder(IN_A[1].folder)
    assert repo is not None
    return repo
