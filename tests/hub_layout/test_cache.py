"""What a crashed writer left in a repo's folder goes with the next new snapshot."""

from __future__ import annotations

import os

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
