"""The numbers of a listing are those of the disk."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download

from modelkeep.keep import Keep
from modelkeep.store.leases import Kind
from tests.hub import Hub, Repository
from tests.models import TINY, random_bytes

SHARED = random_bytes(2 << 20, 1)


def test_an_empty_keep(keep: Keep) -> None:
    found = keep.list()
    assert found.repos == ()
    assert (found.store.blobs, found.store.bytes, found.store.bytes_saved) == (0, 0, 0)


def test_shared_content_counts_in_each_total_and_in_no_unique(keep: Keep, hub: Hub) -> None:
    for name in ("one", "two", "three"):
        repo = hub.repo(f"org/{name}")
        repo.commit({"config.json": name.encode(), "model.bin": SHARED, "again.bin": SHARED})
        keep.pull(repo.id)

    found = keep.list()

    assert [repo.repo for repo in found.repos] == ["org/one", "org/three", "org/two"]
    for listed in found.repos:
        name = listed.repo.partition("/")[2]
        assert listed.bytes_total == len(SHARED) + len(name)
        assert listed.bytes_unique == len(name)
        assert listed.bytes_unsettled == 0
        (revision,) = listed.revisions
        assert (revision.files, revision.complete) == (3, True)
        assert revision.bytes == 2 * len(SHARED) + len(name)
        assert listed.source == hub.endpoint
        assert listed.last_used
    assert found.store.blobs == 4
    assert found.store.bytes == len(SHARED) + len("onetwothree")
    assert found.store.bytes_saved == 2 * len(SHARED)


def test_what_is_pinned_or_in_use_is_said_of_its_repo(filled: Keep) -> None:
    def told() -> tuple[bool, bool]:
        (repo,) = filled.list().repos
        return repo.pinned, repo.leased

    assert told() == (False, False)
    filled.store.leases.take("datasets/org/tiny", [])
    assert told() == (False, False)
    lease = filled.store.leases.take("org/tiny@main", [])
    assert told() == (False, True)
    filled.store.leases.take("org/tiny", [], kind=Kind.PIN, lifetime_s=None)
    filled.store.leases.drop(lease.id)
    assert told() == (True, False)


def test_a_lease_that_cannot_be_read_may_be_on_any_repo(filled: Keep) -> None:
    (filled.store.layout.leases / "of-a-later-version.json").write_text("{}")
    assert filled.list().repos[0].leased


def test_what_a_stock_client_brought_is_unsettled_until_it_is_pulled(
    keep: Keep, hub: Hub, tiny_repo: Repository
) -> None:
    snapshot_download(tiny_repo.id, cache_dir=keep.hub.directory, endpoint=hub.endpoint)
    total = sum(map(len, TINY.values()))
    (before,) = keep.list().repos
    assert (before.bytes_unsettled, before.source) == (total, None)
    hub.clear_log()

    pulled = keep.pull(tiny_repo.id)

    (after,) = keep.list().repos
    assert (after.bytes_unsettled, after.source) == (0, hub.endpoint)
    assert pulled.bytes_fetched == 0
    assert not hub.matching("*/resolve/*")
    assert keep.list().store.blobs == len(TINY)


def test_a_part_of_a_revision_is_not_complete(keep: Keep, hub: Hub, tiny_repo: Repository) -> None:
    keep.pull(tiny_repo.id, include=["*.json"])
    (repo,) = keep.list().repos
    assert [(r.files, r.complete) for r in repo.revisions] == [(1, False)]
    assert not keep.is_complete(tiny_repo.id)

    keep.pull(tiny_repo.id)
    assert keep.is_complete(tiny_repo.id)


def test_complete_is_unknown_where_nobody_noted_the_commit(filled: Keep) -> None:
    for note in (filled.hub.directory / "models--org--tiny/trees").iterdir():
        note.unlink()
    (repo,) = filled.list().repos
    assert [revision.complete for revision in repo.revisions] == [None]


def test_patterns_choose(keep: Keep, hub: Hub) -> None:
    for repo_id, kind in (("org/bert", "model"), ("org/gpt", "model"), ("org/bert", "dataset")):
        repo = hub.repo(repo_id, kind)
        repo.commit(TINY)
        keep.pull(repo_id, type=kind)

    def names(*patterns: str) -> list[tuple[str, str]]:
        return [(repo.type, repo.repo) for repo in keep.list(patterns).repos]

    assert len(names()) == 3
    assert names("bert") == [("dataset", "org/bert"), ("model", "org/bert")]
    assert names("datasets/*") == [("dataset", "org/bert")]
    assert names("nothing*") == []


def test_refs_are_the_commit_and_nothing_else(filled: Keep, tiny_repo: Repository) -> None:
    ref = filled.hub.directory / "models--org--tiny/refs/main"
    assert ref.read_bytes() == tiny_repo.sha.encode()
    (repo,) = filled.list().repos
    assert repo.refs == {"main": tiny_repo.sha}


def test_strangers_in_the_hub_are_passed_over(filled: Keep) -> None:
    hub = filled.hub.directory
    (hub / "models--a--file").write_text("x")
    (hub / ".locks" / "models--org--gone").mkdir(parents=True)
    (hub / "models--org--empty").mkdir()
    (hub / "version.txt").write_text("1")
    dangling = next((hub / "models--org--tiny/snapshots").iterdir()) / "dangling"
    dangling.symlink_to("../../blobs/gone")

    (repo,) = filled.list().repos
    assert repo.repo == "org/tiny"
    assert Path(dangling).is_symlink()
