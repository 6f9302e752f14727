"""What a crashed writer left in a repo's folder goes with the next new snapshot."""

from __future__ import annotations

import os
import time

from modelkeep.hub.repo import Repo, RepoType
from modelkeep.keep import Keep
from tests.hub import Repository

TWO_DAYS = 2 * 86_400


def test_old_leftovers_go_and_nothing_else_does(filled: Keep, tiny_repo: Repository) -> None:
    folder = filled.hub.folder(Repo(RepoType.MODEL, tiny_repo.id))
    old = [folder / ".snapshot-old", folder / "blobs/.modelkeep-old"]
    others = [folder / ".snapshot-new", folder / "blobs/of-a-client.incomplete"]
    for path in (*old, *others):
        path.touch()
    for path in (*old, others[1]):
        os.utime(path, times=(0, time.time() - TWO_DAYS))

    tiny_repo.commit({"config.json": b"{}"})
    filled.pull(tiny_repo.id)

    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in others)
