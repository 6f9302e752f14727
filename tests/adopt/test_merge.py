"""A cache that moves into the keep: a link in its place, every revision kept, nothing lost."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from modelkeep.errors import AccessError, BusyError, NotFoundError, UsageError
from modelkeep.keep import Keep
from modelkeep.store.verify import verify
from tests import forks
from tests.adopt.conftest import COMMON, CONTENTS, IN_A, IN_B, ONLY_A, ONLY_B
from tests.adopt.support import adopt, loads, shares_nothing, undo
from tests.caches import Revision, digest, disk_bytes, etag, picture, write
from tests.filesystems import bind, need_root, tmpfs


def test_the_cache_becomes_a_link_to_the_keep(keep: Keep, a: Path, b: Path) -> None:
    adopted = adopt(keep, a, b, merge=True)

    for cache in (a, b):
        assert cache.is_symlink()
        assert cache.samefile(keep.hub.directory)
        assert loads(cache, [*IN_A, *IN_B])
    assert {name for name, _ in keep.store.blobs()} == {digest(data) for data in CONTENTS}
    assert verify(keep.store, [name for name, _ in keep.store.blobs()]).ok
    asides = [one.set_aside for one in adopted if one.set_aside]
    large = [path for aside in asides for path in aside.rglob("*") if path.lstat().st_size > 4096]
    assert [path for path in large if path.is_file() and not path.is_symlink()] == []
    assert sum(one.bytes_freed for one in adopted) > 2_900_000


def test_the_keep_lists_what_was_merged_as_complete(keep: Keep, a: Path) -> None:
    adopt(keep, a, merge=True)

    listing = keep.list()

    assert [repo.repo for repo in listing.repos] == ["org/one", "org/two"]
    assert all(repo.revisions[0].complete for repo in listing.repos)
    assert all(repo.last_used and not repo.bytes_unsettled for repo in listing.repos)


def test_undo_gives_the_caches_back_bit_for_bit(keep: Keep, a: Path, b: Path) -> None:
    before = [picture(a), picture(b)]
    names = set(a.parent.iterdir())
    adopt(keep, a, b, merge=True)

    undo(keep, a, b)

    assert [picture(a), picture(b)] == before
    assert shares_nothing(keep, a)
    assert shares_nothing(keep, b)
    assert set(a.parent.iterdir()) == names
    assert loads(keep.hub.directory, [*IN_A, *IN_B])


def test_undo_says_what_is_no_longer_there_and_changes_nothing(keep: Keep, a: Path) -> None:
    adopt(keep, a, merge=True)
    keep.remove(keep.plan_removal("org/two"))
    before = picture(a.parent)

    (plan,) = keep.plan_undo([a])
    with pytest.raises(NotFoundError, match="2 file") as caught:
        keep.undo(plan)

    assert f"modelkeep pull org/two@{IN_A[1].commit}" in str(caught.value.hint)
    assert picture(a.parent).groups == before.groups
    assert a.is_symlink()


def test_a_merged_cache_needs_nothing_more(keep: Keep, a: Path) -> None:
    adopt(keep, a, merge=True)

    assert keep.plan_adoption([a]) == ()
    assert keep.plan_adoption([a], merge=True) == ()


def test_branches_that_disagree_stay_the_keeps_and_both_commits_are_kept(
    keep: Keep, a: Path, tmp_path: Path
) -> None:
    other = Revision("org/one", {"config.json": b'{"newer": 1}', "deep/model.safetensors": COMMON})
    c = write(tmp_path / "c", other)
    adopt(keep, a, merge=True)

    (adopted,) = adopt(keep, c, merge=True)

    (conflict,) = adopted.skipped
    assert conflict.path == str(c / other.folder / "refs/main")
    assert IN_A[0].commit[:12] in conflict.reason
    assert loads(c, IN_A)
    snapshot = c / other.folder / "snapshots" / other.commit
    assert (snapshot / "config.json").read_bytes() == b'{"newer": 1}'
    assert (snapshot / "deep/model.safetensors").read_bytes() == COMMON


def test_what_the_keep_does_not_know_stays_beside(keep: Keep, a: Path) -> None:
    folder = a / IN_A[0].folder
    (a / "notes.txt").write_text("mine")
    (a / "version.txt").write_text("1")
    old = folder / "blobs/0123.abcdef01.incomplete"
    old.write_bytes(b"half")
    os.utime(old, ns=(0, 0))
    corrupt = next(a.glob(f"*/blobs/{etag(ONLY_A)}"))
    corrupt.write_bytes(b"\0" + ONLY_A[1:])

    (adopted,) = adopt(keep, a, merge=True)

    aside = adopted.set_aside
    assert aside is not None
    kept = {path.name for path in aside.rglob("*") if path.is_file() and not path.is_symlink()}
    assert kept >= {"notes.txt", "version.txt", "0123.abcdef01.incomplete", etag(ONLY_A)}
    assert not (a / IN_A[1].folder / "snapshots" / IN_A[1].commit / "a.bin").exists()
    assert [left.path for left in adopted.corrupt] == [
        str(a / IN_A[1].folder / "blobs" / etag(ONLY_A))
    ]


def test_absence_notes_and_nameless_blobs_come_along(keep: Keep, a: Path) -> None:
    folder = a / IN_A[0].folder
    absent = folder / ".no_exist" / IN_A[0].commit / "adapter_config.json"
    absent.parent.mkdir(parents=True)
    absent.touch()
    (folder / "blobs/strange-etag").write_bytes(ONLY_B)
    pointer = folder / "snapshots" / IN_A[0].commit / "deep/b.bin"
    pointer.symlink_to("../../../blobs/strange-etag")
    standing = folder / "snapshots" / IN_A[0].commit / "written.txt"
    standing.write_text("by hand")

    adopt(keep, a, merge=True)

    assert (folder / ".no_exist" / IN_A[0].commit / "adapter_config.json").exists()
    assert pointer.read_bytes() == ONLY_B
    assert standing.read_text() == "by hand"


@pytest.mark.parametrize("place", [".no_exist", "snapshots/{commit}/deep", "blobs"])
def test_nothing_is_written_through_a_link_that_another_user_made(
    keep: Keep, a: Path, tmp_path: Path, place: str
) -> None:
    need_root()
    repo, commit = a / IN_A[0].folder, IN_A[0].commit
    (repo / ".no_exist" / commit).mkdir(parents=True)
    (repo / ".no_exist" / commit / "missing").touch()
    (repo / "blobs" / "named-by-nobody").write_bytes(b"?")
    (repo / "snapshots" / commit / "deep/er").mkdir()
    (repo / "snapshots" / commit / "deep/er/file").symlink_to("../../../../blobs/named-by-nobody")
    private = tmp_path / "private"
    private.mkdir()
    planted = keep.hub.directory / IN_A[0].folder / place.format(commit=commit)
    planted.parent.mkdir(parents=True)
    planted.symlink_to(private)
    os.lchown(planted, 12345, 12345)

    with pytest.raises(AccessError, match="a link that uid 12345 made"):
        adopt(keep, a, merge=True)

    assert not any(private.iterdir())
    assert not a.is_symlink()


def test_a_cache_without_links_is_merged_too(keep: Keep, tmp_path: Path) -> None:
    cache = write(tmp_path / "c", *IN_A)
    for pointer in list(cache.rglob("snapshots/*/**/*")):
        if pointer.is_symlink():
            data = pointer.read_bytes()
            pointer.unlink()
            pointer.write_bytes(data)
    for blob in list(cache.glob("*/blobs/*")):
        blob.unlink()
    before = picture(cache)

    adopt(keep, cache, merge=True)

    assert loads(cache, IN_A)
    assert all(path.is_symlink() for path in cache.glob("*/snapshots/*/*.*"))
    undo(keep, cache)
    assert picture(cache) == before


def test_a_running_download_is_not_disturbed(keep: Keep, a: Path) -> None:
    lock = a / ".locks" / IN_A[0].folder / "etag.lock"
    lock.parent.mkdir(parents=True)
    before = picture(a)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="downloading"):
            adopt(keep, a, merge=True)
    lock.unlink()
    partial = a / IN_A[0].folder / "blobs/0123.abcdef01.incomplete"
    partial.write_bytes(b"half")

    with pytest.raises(BusyError, match="downloading"):
        adopt(keep, a, merge=True)

    assert partial.read_bytes() == b"half"
    assert not a.is_symlink()
    assert set(picture(a).paths) >= set(before.paths) - {f".locks/{IN_A[0].folder}/etag.lock"}


def test_what_comes_between_the_look_and_the_swap_comes_along(keep: Keep, a: Path) -> None:
    (plan,) = keep.plan_adoption([a], merge=True, share=True)
    later = Revision("org/later", {"config.json": b'{"late": 1}', "model.bin": ONLY_B})

    child = forks.start(lambda: keep.adopt(plan), sync="stop:adopt:linked")
    child.stopped()
    write(a, later)
    child.resume()
    child.result()

    assert a.is_symlink()
    assert loads(a, [*IN_A, later])


@pytest.mark.parametrize("merge", [False, True])
def test_every_path_resolves_at_every_moment(keep: Keep, a: Path, b: Path, merge: bool) -> None:
    adopt(keep, b)
    files = [
        (a / revision.folder / "snapshots" / revision.commit / path, data)
        for revision in IN_A
        for path, data in revision.files.items()
    ]

    def there_and_back() -> None:
        for _ in range(5):
            adopt(keep, a, merge=merge)
            undo(keep, a)

    child = forks.start(there_and_back)
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        assert [path.read_bytes() for path, _ in files] == [data for _, data in files]
    child.result()
    assert loads(a, IN_A)


def test_without_the_system_call_two_renames_do_it(
    keep: Keep, a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = picture(a)
    for module in ("modelkeep.hub.adopt.swap",):
        monkeypatch.setattr(f"{module}.exchange", lambda one, other: False)

    adopt(keep, a, merge=True)

    assert loads(a, IN_A)
    undo(keep, a)
    assert picture(a) == before


@pytest.mark.real
def test_a_mount_point_cannot_become_a_link(keep: Keep, a: Path, tmp_path: Path) -> None:
    need_root()
    with bind(tmp_path, a) as mounted:
        with pytest.raises(UsageError, match="mount point"):
            adopt(keep, mounted, merge=True)
        assert loads(mounted, IN_A)


@pytest.mark.real
def test_a_cache_that_cannot_share_is_not_replaced(keep: Keep, a: Path, tmp_path: Path) -> None:
    need_root()
    with tmpfs(tmp_path, 64) as disk:
        shutil.copytree(a, disk / "cache", symlinks=True)
        with pytest.raises(UsageError, match="another file system"):
            adopt(keep, disk / "cache", merge=True)
        assert picture(disk / "cache").groups == picture(a).groups
    # The same disk under another mount, where links fail all the same.
    with bind(tmp_path, a.parent) as other:
        with pytest.raises(UsageError, match="stays as it is"):
            adopt(keep, other / a.name, merge=True)
        assert not a.is_symlink()
        assert loads(a, IN_A)


def test_one_copy_is_left(keep: Keep, a: Path, tmp_path: Path) -> None:
    copies = [write(tmp_path / f"c{number}", *IN_A) for number in range(3)]
    before = disk_bytes(a, *copies)

    adopted = adopt(keep, a, *copies, merge=True)

    parts = [keep.store.layout.blobs, keep.hub.directory]
    everything = [*parts, *(one.set_aside for one in adopted if one.set_aside)]
    assert disk_bytes(*everything) < before / 3.9
    assert sum(status.st_size for _, status in keep.store.blobs()) == sum(
        len(data) for data in {data for revision in IN_A for data in revision.files.values()}
    )


def test_what_was_shared_first_and_merged_then_goes_back_all_the_way(
    keep: Keep, a: Path, b: Path
) -> None:
    adopt(keep, b)
    before = picture(a)
    adopt(keep, a)
    between = picture(a)
    adopt(keep, a, merge=True)

    undo(keep)
    assert picture(a) == between
    adopt(keep, a, merge=True)
    assert len(undo(keep, a)) == 2

    assert picture(a) == before
    assert shares_nothing(keep, a)
