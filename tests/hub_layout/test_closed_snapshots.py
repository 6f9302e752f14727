"""What lies behind a closed folder is unknown: it counts as used, and as not verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkeep.errors import AccessError
from modelkeep.keep import Keep
from tests.filesystems import as_user, need_root, public_directory
from tests.hub import Hub, Repository
from tests.keeping import held_by
from tests.models import random_bytes

UID = 4242
SHARED = random_bytes(2 << 20, 1)


@pytest.fixture
def repo(hub: Hub) -> Repository:
    """A repository of two commits that share their weights."""
    return hub.repo("org/shared")


@pytest.fixture
def keep(repo: Repository) -> Iterator[Keep]:
    """A keep of one user with both commits."""
    need_root()
    with public_directory() as folder:
        keep = Keep.create(folder / "keep")
        for number in range(2):
            repo.commit({"deep/w.bin": SHARED, "n.txt": b"%d" % number}, update=True)
            keep.pull(repo.id)
        for path in (keep.directory, *keep.directory.rglob("*")):
            os.chown(path, UID, UID, follow_symlinks=False)
        yield keep


@pytest.fixture
def first(keep: Keep, repo: Repository) -> str:
    """The older of the commits."""
    second = held_by(keep, repo.id)
    (commit,) = set(keep.hub.commits(second.repo)) - {second.commit}
    return commit


@pytest.fixture
def newest(keep: Keep, repo: Repository) -> Path:
    """The snapshot of the newer commit."""
    held = held_by(keep, repo.id)
    return keep.hub.snapshot(held.repo, held.commit)


def test_a_removal_is_refused(keep: Keep, repo: Repository, first: str, newest: Path) -> None:
    newest.chmod(0)
    with pytest.raises(AccessError, match=newest.name):
        as_user(UID, lambda: keep.plan_removal(repo.id, first))


@pytest.mark.parametrize("folder", ["", "deep"])
def test_a_removal_that_was_planned_takes_no_content(
    keep: Keep, repo: Repository, first: str, newest: Path, folder: str
) -> None:
    def remove() -> None:
        plan = keep.plan_removal(repo.id, first)
        (newest / folder).chmod(0)
        keep.remove(plan)

    as_user(UID, remove)

    (newest / folder).chmod(0o755)
    assert (newest / "deep/w.bin").read_bytes() == SHARED
    assert keep.is_complete(repo.id)
    assert keep.verify().ok


@pytest.mark.parametrize("named", [False, True])
def test_it_is_not_verified(keep: Keep, repo: Repository, newest: Path, named: bool) -> None:
    weights = (newest / "deep/w.bin").resolve()
    weights.unlink()
    (newest / "deep").chmod(0)
    repos = [f"{repo.id}@{newest.name}"] if named else []

    report = as_user(UID, lambda: keep.verify(*repos))

    assert not report.ok
    assert any("permission denied" in odd.reason for odd in report.unverifiable)


def test_what_is_complete_cannot_be_told(keep: Keep, repo: Repository, newest: Path) -> None:
    (newest / "deep").chmod(0)
    with pytest.raises(AccessError):
        as_user(UID, lambda: keep.is_complete(repo.id))
    with pytest.raises(AccessError):
        as_user(UID, lambda: keep.where(repo.id))
