"""What a crashed writer left in a repo's folder goes with the next new snapshot."""

from __future__ import annotations

import os

import pytest

from modelkeep.errors import NotFoundError
from modelkeep.hub.repo import Repo, RepoType
from modelkeep.keep import Keep
from tests.hub import Repository
from tests.later import Later


def test_old_leftovers_go_and_nothing_else_does(
    filled: Keep, tiny_repo: Repository, later: Later
) -> None:
    folder = filled.hub.folder(Repo(RepoType.MODEL, tiny_repo.id))
    ours = [folder / ".snapshot-x", folder / "blobs/.modelkeep-x"]
    others = [folder / "blobs/of-a-client.incomplete"]
    for path in (*ours, *others):
        path.touch()
        os.utime(path, times=(0, 0))

    tiny_repo.commit({"config.json": b"{}"})
    filled.pull(tiny_repo.id)
    assert all(path.exists() for path in (*ours, *others))  # an old time proves nothing

    later(1.1)
    tiny_repo.commit({"config.json": b"{ }"})
    filled.pull(tiny_repo.id)
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)


def test_the_first_digits_of_a_commit_stand_for_it(filled: Keep, tiny_repo: Repository) -> None:
    repo = Repo(RepoType.MODEL, tiny_repo.id)
    hub = filled.hub
    (commit,) = hub.commits(repo)
    assert hub.resolve(repo, commit[:7]) == hub.resolve(repo, commit[:39]) == commit
    assert hub.resolve(repo, commit[:6]) is None

    other = commit[:10] + ("1" if commit[10] == "0" else "0") + commit[11:]
    hub.snapshot(repo, other).mkdir()
    assert hub.resolve(repo, commit[:10]) is None
    assert hub.resolve(repo, commit[:11]) == commit
    hub.write_ref(repo, commit[:11], other)
    assert hub.resolve(repo, commit[:11]) == other


def test_a_pin_by_the_first_digits_is_on_the_commit(filled: Keep, tiny_repo: Repository) -> None:
    (commit,) = filled.hub.commits(Repo(RepoType.MODEL, tiny_repo.id))
    (pin,) = filled.pin(f"{tiny_repo.id}@{commit[:8]}")
    assert pin.revision == commit
    with pytest.raises(NotFoundError):
        filled.unpin(f"{tiny_repo.id}@main")
    assert filled.unpin(f"{tiny_repo.id}@{commit[:8]}") == (pin,)
