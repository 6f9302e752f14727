"""What a client begins while a person is asked about a collection does not go with it."""

from __future__ import annotations

import os
import time

import pytest

from modelkeep.hub.repo import Repo, parse
from modelkeep.keep import Keep
from modelkeep.store.leases import Kind
from tests.hub import Repository
from tests.keeping import held_by
from tests.later import Later

COMMIT = "e" * 40


@pytest.fixture
def filled(keep: Keep, tiny_repo: Repository) -> Keep:
    """A keep with `org/tiny`, unused for a month."""
    keep.pull(tiny_repo.id)
    then = time.time() - 30 * 86_400
    for file in held_by(keep, tiny_repo.id).files:
        os.utime(keep.store.layout.used(file.digest), (then, then))
    return keep


def begin(keep: Keep, repo: Repo) -> bytes:
    """A client begins a download of a commit."""
    keep.hub.write_ref(repo, "main", COMMIT)
    blobs = keep.hub.make_folder(repo, "blobs")
    (blobs / "etag.01234567.incomplete").write_bytes(b"half")
    return b"half"


def test_a_revision_stays(filled: Keep, tiny_repo: Repository) -> None:
    repo = held_by(filled, tiny_repo.id).repo
    plan = filled.plan_collection(everything=True)
    assert plan.remove
    begin(filled, repo)

    removal = filled.collect(plan)

    assert removal.remove == ()
    assert [(item.name, item.reason) for item in removal.kept] == [
        (plan.remove[0].name, "a client may be downloading it")
    ]
    assert (filled.hub.folder(repo) / "blobs/etag.01234567.incomplete").read_bytes() == b"half"
    assert filled.hub.refs(repo) == {"main": COMMIT}


@pytest.mark.parametrize("snapshot", [True, False])
@pytest.mark.parametrize("step", ["a file", "a download"])
def test_what_was_empty_stays(keep: Keep, later: Later, step: str, snapshot: bool) -> None:
    repo = parse("org/begun")[0]
    keep.hub.make_folder(repo, *(("snapshots", COMMIT) if snapshot else ("blobs",)))
    later(1.1)
    plan = keep.plan_collection()
    assert [item.kind for item in plan.remove] == ["snapshot"]
    later(0)
    if step == "a download":
        begin(keep, repo)
    elif snapshot:
        (keep.hub.snapshot(repo, COMMIT) / "config.json").write_bytes(b"{}")
    else:
        (keep.hub.make_folder(repo, "blobs") / ("a" * 64)).write_bytes(b"{}")

    removal = keep.collect(plan)

    assert removal.remove == ()
    assert [item.name for item in removal.kept] == [plan.remove[0].name]
    assert keep.hub.folder(repo).is_dir()
    if step == "a download":
        assert keep.hub.refs(repo) == {"main": COMMIT}
        assert len(list((keep.hub.folder(repo) / "blobs").iterdir())) == 1


@pytest.mark.parametrize("kind", [Kind.LEASE, Kind.PIN])
def test_an_empty_repo_that_is_held_stays(keep: Keep, later: Later, kind: Kind) -> None:
    repo = parse("org/begun")[0]
    folder = keep.hub.make_folder(repo, "blobs")
    keep.hub.write_ref(repo, "main", COMMIT)
    later(1.1)
    plan = keep.plan_collection()
    keep.store.leases.take("org/begun", (), kind=kind, reason="demo", lifetime_s=None)

    removal = keep.collect(plan)

    assert removal.remove == ()
    ((name, reason),) = {(item.name, item.reason) for item in removal.kept}
    assert (name, "demo" in reason) == ("org/begun", True)
    assert folder.is_dir()
    assert keep.hub.refs(repo) == {"main": COMMIT}
