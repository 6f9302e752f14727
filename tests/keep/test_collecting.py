"""Collections of real keeps: what goes, what stays, and what the disk gets back."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from modelkeep.errors import AccessError
from modelkeep.fs import identity
from modelkeep.hub.removal.collect import CollectionPlan
from modelkeep.hub.removal.remove import Removal
from modelkeep.keep import Keep
from modelkeep.store.digest import hash_bytes
from modelkeep.store.leases import Kind
from tests import forks
from tests.filesystems import as_user, public_directory
from tests.hub import Hub, Repository
from tests.keeping import held_by, loaded
from tests.later import Later
from tests.models import TINY, random_bytes

MIB = 1 << 20
SHARED = random_bytes(2 * MIB, 1)
_NOTES = {"refs", "trees"}


def used(keep: Keep) -> int:
    """Bytes the disk holds for content in the keep, each inode once."""
    found = {}
    for top in (keep.hub.directory, keep.store.layout.blobs, keep.store.layout.tmp):
        for path in top.rglob("*"):
            status = path.lstat()
            if path.is_file() and not path.is_symlink() and path.parent.name not in _NOTES:
                found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def age(keep: Keep, repo: str, days: float) -> None:
    """Let the last use of all a repo holds be so many days ago."""
    then = time.time() - days * 86_400
    for file in held_by(keep, repo).files:
        os.utime(keep.store.layout.used(file.digest), (then, then))


def collect(keep: Keep, **wish: object) -> Removal:
    plan: CollectionPlan = keep.plan_collection(**wish)  # type: ignore[arg-type]
    return keep.collect(plan)


def there(keep: Keep) -> list[str]:
    return [listed.repo for listed in keep.list().repos]


@pytest.fixture
def filled(keep: Keep, tiny_repo: Repository) -> Keep:
    keep.pull(tiny_repo.id)
    return keep


@pytest.fixture
def three(keep: Keep, hub: Hub) -> Keep:
    """`google-bert/bert`, `org/two` and `org/three`, used 90, 30 and 1 days ago; the last two share
    weights."""
    for number, (name, days) in enumerate(
        (("google-bert/bert", 90), ("org/two", 30), ("org/three", 1))
    ):
        files = {"config.json": b'{"n": %d}' % number, "own.bin": random_bytes(MIB, 10 + number)}
        if number:
            files["shared.bin"] = SHARED
        hub.repo(name).commit(files)
        keep.pull(name)
        age(keep, name, days)
    age(keep, "org/two", 30)
    age(keep, "org/three", 1)
    return keep


def test_without_a_wish_nothing_that_is_used_goes(three: Keep) -> None:
    before = sorted(three.directory.rglob("*"))
    plan = three.plan_collection(grace=0)
    assert plan.remove == ()
    three.collect(plan)
    after = sorted(three.directory.rglob("*"))
    assert [path for path in after if path != three.store.layout.ballast] == [
        path for path in before if path != three.store.layout.ballast
    ]


def test_planning_changes_nothing(three: Keep) -> None:
    before = {path: path.lstat().st_ctime_ns for path in three.directory.rglob("*")}
    three.plan_collection(everything=True)
    after = {path: path.lstat().st_ctime_ns for path in three.directory.rglob("*")}
    touched = {three.store.layout.tmp}
    assert {path for path in after if before.get(path) != after[path]} <= touched


def test_the_least_recently_used_goes_first(three: Keep) -> None:
    removal = collect(three, free=1)
    assert there(three) == ["org/three", "org/two"]
    assert removal.bytes_freed == removal.bytes_planned >= MIB
    assert not scan_cache_dir(three.hub.directory).warnings


def test_the_plan_is_what_the_disk_gives_back(three: Keep) -> None:
    before = used(three)
    removal = collect(three, everything=True)
    assert removal.bytes_freed == removal.bytes_planned == before - used(three)
    assert there(three) == []
    assert not list(three.store.blobs())
    assert not list(three.store.layout.trash.iterdir())


def test_a_keep_can_be_kept_under_a_size(three: Keep) -> None:
    collect(three, keep_under=4 * MIB)
    assert there(three) == ["org/three"]
    assert used(three) <= 4 * MIB
    assert loaded(three, "org/three")["shared.bin"] == SHARED


def test_patterns_and_ages_choose(three: Keep) -> None:
    assert [
        item.name.partition("@")[0] for item in three.plan_collection(match="bert*").remove
    ] == ["google-bert/bert"]
    collect(three, match="org/*", older_than=7 * 86_400)
    assert there(three) == ["google-bert/bert", "org/three"]
    assert loaded(three, "org/three")["shared.bin"] == SHARED


def test_what_is_used_after_the_plan_stays(three: Keep) -> None:
    plan = three.plan_collection(everything=True)
    later = time.time() + 60
    for file in held_by(three, "org/two").files:
        os.utime(three.store.layout.used(file.digest), (later, later))

    removal = three.collect(plan)

    assert there(three) == ["org/two"]
    assert "it was used just now" in {item.reason for item in removal.kept}
    assert loaded(three, "org/two")["shared.bin"] == SHARED


@pytest.mark.parametrize("when", ["before the plan", "after the plan"])
@pytest.mark.parametrize("kind", [Kind.LEASE, Kind.PIN])
def test_what_is_held_stays(three: Keep, kind: Kind, when: str) -> None:
    plan = three.plan_collection(everything=True)
    three.store.leases.take(
        "org/two@main", (), kind=kind, reason="demo", owner=identity.current(), lifetime_s=None
    )
    if when == "before the plan":
        plan = three.plan_collection(everything=True)

    removal = three.collect(plan)

    assert there(three) == ["org/two"]
    commit = held_by(three, "org/two").commit
    (kept,) = (item for item in removal.kept if item.name == f"org/two@{commit}")
    assert "demo" in kept.reason
    assert kept.name not in {item.name for item in removal.remove}
    assert loaded(three, "org/two")["shared.bin"] == SHARED


def test_a_lease_that_cannot_be_read_holds_everything(three: Keep) -> None:
    (three.store.layout.leases / "odd.json").write_text("{")
    assert collect(three, everything=True).remove == ()
    assert len(there(three)) == 3


def test_leases_that_have_ended_go(three: Keep) -> None:
    lease = forks.run(lambda: three.store.leases.take("org/two", (), owner=identity.current()))
    removal = collect(three)
    assert [(item.kind, item.name) for item in removal.remove] == [("lease", lease.id)]
    assert not list(three.store.layout.leases.iterdir())


def test_what_was_added_is_never_evicted(three: Keep, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    three.add(folder, "me/mine")

    removal = collect(three, everything=True)

    assert there(three) == ["me/mine"]
    assert "it was added here and cannot be fetched again" in {i.reason for i in removal.kept}


def test_what_a_client_is_downloading_stays(three: Keep) -> None:
    folder = three.hub.folder(held_by(three, "org/two").repo)
    (folder / "blobs/etag.01234567.incomplete").write_bytes(b"half")
    removal = collect(three, everything=True)
    assert there(three) == ["org/two"]
    assert "a client may be downloading it" in {item.reason for item in removal.kept}


def test_a_repo_that_may_not_be_removed_stays_and_the_others_go(hub: Hub) -> None:
    with public_directory() as folder:
        keep = Keep.create(folder / "keep")
        for name in ("org/another", "org/mine", "org/other"):
            hub.repo(name).commit({"config.json": name.encode()})
            keep.pull(name)
        theirs = keep.hub.folder(held_by(keep, "org/another").repo)
        subprocess.run(["chown", "-R", "4242:4242", keep.directory], check=True)
        subprocess.run(["chown", "-R", "0:0", theirs], check=True)
        keep.plan_collection(everything=True)  # so that all is imported

        removal = as_user(4242, lambda: collect(Keep.open(keep.directory), everything=True))

        assert there(keep) == ["org/another"]
        (kept,) = (item for item in removal.kept if item.name.startswith("org/another@"))
        assert "permission denied" in kept.reason
        assert kept.name not in {item.name for item in removal.remove}


def test_a_linked_cache_keeps_its_own(three: Keep, tmp_path: Path) -> None:
    three.link("org/two", into=tmp_path / "cache")
    plan = three.plan_collection(match="two")
    assert plan.bytes_pending >= MIB

    three.collect(plan)

    assert there(three) == ["google-bert/bert", "org/three"]
    top = Path(snapshot_download("org/two", cache_dir=tmp_path / "cache", local_files_only=True))
    assert (top / "shared.bin").read_bytes() == SHARED
    shutil.rmtree(tmp_path / "cache")
    # No other name any more: garbage, once its grace is over.
    assert collect(three, grace=0).bytes_freed >= MIB


def test_what_nobody_uses_goes_after_its_grace(
    keep: Keep, tiny_repo: Repository, later: Later
) -> None:
    keep.pull(tiny_repo.id)
    shutil.rmtree(keep.hub.folder(held_by(keep, tiny_repo.id).repo))
    (kept,) = {item.reason for item in collect(keep).kept}
    assert kept == "nothing uses it, for less than 24 hours"

    later(1.1)
    removal = collect(keep)

    assert removal.bytes_freed == removal.bytes_planned >= len(TINY["model.safetensors"])
    assert not list(keep.store.blobs())


def test_what_was_added_and_lost_its_names_stays(keep: Keep, tmp_path: Path, later: Later) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    keep.add(folder, "me/mine")
    shutil.rmtree(keep.hub.folder(held_by(keep, "me/mine").repo))
    later(30)

    (kept,) = collect(keep).kept

    assert kept.reason == "no upstream is known to fetch it from again"
    assert keep.store.has(hash_bytes(b"{}", "git-sha1"))


def test_dead_downloads_of_clients_go(filled: Keep, tiny_repo: Repository, later: Later) -> None:
    blobs = filled.hub.folder(held_by(filled, tiny_repo.id).repo) / "blobs"
    dead, running = blobs / "a.11111111.incomplete", blobs / "b.22222222.incomplete"
    dead.write_bytes(bytes(5000))
    later(1.1)
    with running.open("wb") as file:
        file.write(bytes(5000))
        removal = collect(filled)
    assert not dead.exists()
    assert running.exists()  # somebody has it open, however old it is
    assert [(item.kind, item.name) for item in removal.remove] == [("download", str(dead))]
    assert filled.is_complete(tiny_repo.id)


def test_blobs_that_no_revision_has_go(filled: Keep, tiny_repo: Repository, later: Later) -> None:
    """A removal was killed after it had hidden the snapshot."""
    first = held_by(filled, tiny_repo.id)
    tiny_repo.commit({"new.bin": SHARED}, update=True)
    filled.pull(tiny_repo.id)
    second = held_by(filled, tiny_repo.id)
    plan = filled.plan_removal(tiny_repo.id, second.commit)
    assert forks.start(lambda: filled.remove(plan), sync="kill:remove:snapshot").killed()
    later(1.1)

    removal = collect(filled)
    later(1.1)
    removal = replace(removal, bytes_freed=removal.bytes_freed + collect(filled).bytes_freed)

    assert removal.bytes_freed >= len(SHARED)
    assert filled.is_complete(tiny_repo.id, first.commit)
    assert len(list(filled.store.blobs())) == 3


def test_a_note_that_is_wrong_costs_no_blob(
    filled: Keep, tiny_repo: Repository, later: Later
) -> None:
    """`trees/` says that a file has other content than its link points to: the link is right."""
    found = held_by(filled, tiny_repo.id)
    note = filled.hub.folder(found.repo) / "trees" / f"{found.commit}.json"
    (weights,) = (file for file in found.files if file.path == "model.safetensors")
    note.write_text(note.read_text().replace(weights.digest.hex, "0" * 64))
    later(30)

    collect(filled)

    snapshot = filled.hub.snapshot(found.repo, found.commit)
    assert (snapshot / "model.safetensors").read_bytes() == TINY["model.safetensors"]


def test_an_empty_snapshot_goes_with_its_branch(
    filled: Keep, tiny_repo: Repository, later: Later
) -> None:
    repo = held_by(filled, tiny_repo.id).repo
    filled.hub.snapshot(repo, "e" * 40).mkdir()
    filled.hub.write_ref(repo, "begun", "e" * 40)
    collect(filled)
    assert filled.hub.snapshot(repo, "e" * 40).exists()

    later(1.1)
    collect(filled)
    assert not filled.hub.snapshot(repo, "e" * 40).exists()
    assert list(filled.hub.refs(repo)) == ["main"]
    assert filled.is_complete(tiny_repo.id)
    assert not scan_cache_dir(filled.hub.directory).warnings


@pytest.mark.parametrize("name", ["", "blobs", "snapshots"])
def test_a_folder_of_the_hub_that_leads_elsewhere_is_left_alone(
    three: Keep, tmp_path: Path, name: str, later: Later
) -> None:
    """Somebody moved a repo to another disk, or planted a link to somebody else's files."""
    folder = three.hub.folder(held_by(three, "org/two").repo) / name
    outside = tmp_path / "outside"
    folder.rename(outside)
    folder.symlink_to(outside)
    (outside / ".modelkeep-old").write_text("x")
    before = sorted(outside.rglob("*"))
    later(30)

    removal = collect(three, everything=True)

    assert sorted(outside.rglob("*")) == before
    assert "its folder is a link to another place" in {item.reason for item in removal.kept}
    assert there(three) == ["org/two"]


def test_a_root_that_cannot_be_read_holds_everything(three: Keep, tmp_path: Path) -> None:
    three.link("google-bert/bert", into=tmp_path / "cache")
    (root,) = (each for each in three.store.layout.roots.iterdir() if each.name != "hub")
    shutil.rmtree(three.hub.folder(held_by(three, "org/two").repo))
    (root / "refs").unlink()
    (root / "refs").mkdir()

    removal = collect(three, grace=0)

    assert removal.bytes_freed == 0
    assert any("cannot be read" in item.reason for item in removal.kept)


def test_a_keep_that_cannot_be_written_is_refused(
    three: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(three), "read_only", property(lambda _: True))
    with pytest.raises(AccessError):
        three.plan_collection()


def test_a_collection_sees_that_there_is_ballast(three: Keep) -> None:
    three.store.layout.ballast.unlink(missing_ok=True)
    collect(three)
    assert three.store.layout.ballast.stat().st_blocks * 512 >= MIB
