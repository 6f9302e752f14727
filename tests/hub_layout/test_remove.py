"""A removal does what its plan says, frees what it says, and takes nothing of anybody else's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from modelkeep.errors import BusyError, NotFoundError, UsageError
from modelkeep.hub.removal.remove import preview
from modelkeep.keep import Keep
from modelkeep.store.digest import Digest, hash_bytes
from modelkeep.store.store import Store
from tests.filesystems import loop
from tests.hub import Hub, Repository
from tests.keeping import held_by
from tests.models import TINY, random_bytes

SHARED = random_bytes(2 << 20, 1)


def used(*tops: Path) -> int:
    """Bytes the disk holds for blobs below, each inode once."""
    found = {}
    for top in tops:
        for path in top.rglob("*"):
            status = path.lstat()
            if "blobs" in path.parts and path.is_file() and not path.is_symlink():
                found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def digest_of(file: tuple[str, bytes]) -> Digest:
    path, data = file
    return hash_bytes(data, "sha256" if path.endswith(".safetensors") else "git-sha1")


def blobs_of(keep: Keep) -> tuple[Path, Path]:
    return keep.hub.directory, keep.store.layout.blobs


@pytest.fixture
def pair(keep: Keep, hub: Hub) -> tuple[Repository, Repository]:
    """Two repositories in the keep with the same weights."""
    one, two = hub.repo("org/one"), hub.repo("org/two")
    for repo in (one, two):
        repo.commit({"config.json": repo.id.encode() * 500, "model.safetensors": SHARED})
        keep.pull(repo.id)
    return one, two


def test_the_plan_is_what_happens_and_what_the_disk_gets_back(
    keep: Keep, pair: tuple[Repository, Repository]
) -> None:
    for repo, least in zip(pair, (4096, 2 << 20), strict=True):
        plan = keep.plan_removal(repo.id)
        before = used(*blobs_of(keep))

        removal = keep.remove(plan)

        assert removal.bytes_freed == plan.bytes_planned == before - used(*blobs_of(keep))
        assert removal.bytes_freed >= least
        assert not (keep.hub.directory / f"models--{repo.id.replace('/', '--')}").exists()
    assert not list(keep.store.blobs())
    assert not list(keep.store.layout.trash.iterdir())
    assert not scan_cache_dir(keep.hub.directory).warnings


def test_planning_changes_nothing(keep: Keep, pair: tuple[Repository, Repository]) -> None:
    before = sorted(keep.directory.rglob("*"))
    keep.plan_removal(pair[0].id)
    assert sorted(keep.directory.rglob("*")) == before


def test_what_another_repo_uses_stays(keep: Keep, pair: tuple[Repository, Repository]) -> None:
    one, two = pair

    keep.remove(keep.plan_removal(one.id))

    assert keep.is_complete(two.id)
    assert (
        keep.hub.snapshot(held_by(keep, two.id).repo, two.sha) / "model.safetensors"
    ).read_bytes() == SHARED
    assert keep.verify().ok
    with pytest.raises(NotFoundError):
        keep.plan_removal(one.id)


def test_what_another_repo_of_the_keep_uses_is_kept_and_not_pending(
    keep: Keep, pair: tuple[Repository, Repository]
) -> None:
    plan = keep.plan_removal(pair[0].id)
    weights = str(hash_bytes(SHARED, "sha256"))
    for removal in (preview(plan), keep.remove(plan)):
        assert [kept.name for kept in removal.kept] == [weights]
        assert removal.bytes_pending == 0


@pytest.mark.parametrize("which", [0, 1])
def test_the_revision_that_is_in_use_is_the_one_named(
    which: int, keep: Keep, tiny_repo: Repository
) -> None:
    keep.pull(tiny_repo.id)
    tiny_repo.commit({"new.bin": SHARED}, update=True)
    keep.pull(tiny_repo.id)
    commits = sorted(tiny_repo.commits)
    digests = [file.digest for file in held_by(keep, tiny_repo.id, commits[which]).files]
    keep.store.leases.take(f"org/tiny@{commits[which]}", digests)
    with pytest.raises(BusyError, match=f"org/tiny@{commits[which][:12]}` is in use"):
        keep.plan_removal(tiny_repo.id)


def test_what_a_client_is_downloading_is_not_removed(keep: Keep, tiny_repo: Repository) -> None:
    keep.pull(tiny_repo.id)
    blobs = keep.hub.folder(held_by(keep, tiny_repo.id).repo) / "blobs"
    unfinished = blobs / "etag.01234567.incomplete"
    plan = keep.plan_removal(tiny_repo.id)
    unfinished.write_bytes(b"half")
    for act in (lambda: keep.plan_removal(tiny_repo.id), lambda: keep.remove(plan)):
        with pytest.raises(BusyError, match="a client may be downloading `org/tiny`"):
            act()
    unfinished.unlink()
    keep.remove(plan)
    assert keep.list().repos == ()


def test_what_a_lease_on_another_repo_holds_is_not_promised(
    keep: Keep, pair: tuple[Repository, Repository]
) -> None:
    one, two = pair
    keep.remove(keep.plan_removal(two.id))
    weights = hash_bytes(SHARED, "sha256")
    keep.store.leases.take("org/three@main", [weights])

    plan = keep.plan_removal(one.id)
    removal = keep.remove(plan)

    assert removal.bytes_freed == plan.bytes_planned < len(SHARED)
    assert removal.bytes_pending >= len(SHARED)
    assert keep.store.has(weights)


def test_one_revision_goes_and_the_other_stays(keep: Keep, tiny_repo: Repository) -> None:
    first = tiny_repo.sha
    keep.pull(tiny_repo.id)
    second = tiny_repo.commit({"config.json": b"{}", "new.bin": SHARED}, update=True)
    keep.pull(tiny_repo.id)

    removal = keep.remove(keep.plan_removal(tiny_repo.id, second))

    assert [item.name for item in removal.remove] == [f"org/tiny@{second}"]
    assert removal.bytes_freed == removal.bytes_planned >= len(SHARED)
    assert keep.hub.commits(held_by(keep, tiny_repo.id, first).repo) == [first]
    assert keep.is_complete(tiny_repo.id, first)
    assert not scan_cache_dir(keep.hub.directory).warnings
    with pytest.raises(NotFoundError):
        held_by(keep, tiny_repo.id)


def test_a_branch_takes_its_commit_and_all_its_names(keep: Keep, tiny_repo: Repository) -> None:
    tiny_repo.tag("v1")
    keep.pull(tiny_repo.id)
    keep.pull(tiny_repo.id, "v1")

    plan = keep.plan_removal(tiny_repo.id, "v1")

    assert sorted(plan.repos[0].refs) == ["main", "v1"]
    keep.remove(plan)
    assert keep.list().repos == ()


def test_a_linked_cache_keeps_its_own(
    keep: Keep, pair: tuple[Repository, Repository], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for repo in pair:
        keep.link(repo.id, into=cache)

    removals = [keep.remove(keep.plan_removal(repo.id)) for repo in pair]

    assert removals[0].bytes_pending < len(SHARED)  # the other repo of the keep has it, too
    assert removals[1].bytes_pending >= len(SHARED)
    assert removals[1].kept[0].reason.startswith("used by")
    for repo in pair:
        top = Path(snapshot_download(repo.id, cache_dir=cache, local_files_only=True))
        assert (top / "model.safetensors").read_bytes() == SHARED
    assert keep.verify().ok
    shutil.rmtree(cache)


def test_what_a_stock_client_brought_counts_too(
    keep: Keep, hub: Hub, tiny_repo: Repository
) -> None:
    snapshot_download(tiny_repo.id, cache_dir=keep.hub.directory, endpoint=hub.endpoint)
    before = used(keep.hub.directory)

    removal = keep.remove(keep.plan_removal(tiny_repo.id))

    assert removal.bytes_freed == removal.bytes_planned
    assert (
        before - used(keep.hub.directory) >= removal.bytes_freed >= len(TINY["model.safetensors"])
    )


@pytest.mark.parametrize("name", ["", "blobs", "snapshots"])
def test_a_folder_that_leads_elsewhere_is_refused(filled: Keep, tmp_path: Path, name: str) -> None:
    folder = filled.hub.folder(held_by(filled, "org/tiny").repo) / name
    outside = tmp_path / "outside"
    folder.rename(outside)
    folder.symlink_to(outside)
    before = sorted(outside.rglob("*"))

    with pytest.raises(UsageError, match="its folder is a link to another place"):
        filled.plan_removal("org/tiny")

    assert sorted(outside.rglob("*")) == before


def test_a_shard_of_the_store_that_leads_elsewhere_is_not_followed(
    filled: Keep, tmp_path: Path
) -> None:
    """Somebody put a link to another store's shard in the place of one of ours."""
    other = Store.create(tmp_path / "other")
    for file in held_by(filled, "org/tiny").files:
        blob = filled.store.path(file.digest)
        there = other.path(file.digest)
        there.write_bytes(blob.read_bytes())
        shutil.rmtree(blob.parent)
        blob.parent.symlink_to(there.parent)

    removal = filled.remove(filled.plan_removal("org/tiny"))

    assert all(other.has(file) for file in map(digest_of, TINY.items()))
    assert "its folder is a link to another place" in {item.reason for item in removal.kept}


@pytest.mark.parametrize("name", ["org/missing", "org/tiny@nothing"])
def test_what_is_not_there_is_said(filled: Keep, name: str) -> None:
    with pytest.raises(NotFoundError):
        filled.plan_removal(name)


@pytest.mark.real
def test_the_file_system_itself_has_the_bytes_again(tmp_path: Path, tiny_repo: Repository) -> None:
    tiny_repo.commit({"large.bin": random_bytes(8 << 20, 3)}, update=True)
    with loop(tmp_path, "ext4", 64) as disk:
        keep = Keep.create(disk / "keep")
        keep.pull(tiny_repo.id)
        os.sync()
        before = os.statvfs(disk).f_bfree

        removal = keep.remove(keep.plan_removal(tiny_repo.id))

        os.sync()
        status = os.statvfs(disk)
        freed = (status.f_bfree - before) * status.f_frsize
        assert removal.bytes_freed >= 8 << 20
        assert freed >= removal.bytes_freed
