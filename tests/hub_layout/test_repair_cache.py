"""`verify --cache`: any stock cache is verified and repaired, file by file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkeep.errors import NotFoundError
from modelkeep.keep import Keep
from modelkeep.keep.checking import verify_cache
from modelkeep.store.digest import hash_bytes
from tests import caches, forks
from tests.filesystems import need_root
from tests.hub import Hub
from tests.hub_layout.test_repair import FILES, NAME, WEIGHTS, backup
from tests.keeping import loaded
from tests.store.support import flip

STRANGER = 12345


@pytest.fixture
def pulled(keep: Keep, hub: Hub) -> Path:
    hub.repo("org/model").commit(FILES)
    return keep.pull("org/model").snapshot


@pytest.fixture
def cache(keep: Keep, pulled: Path, tmp_path: Path) -> Path:
    return backup(keep, tmp_path)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_good_one_is_said_to_be_good(cache: Path) -> None:
    report = verify_cache(cache, None)
    assert report.ok
    assert report.files == 3
    assert verify_cache(cache, None, quick=True).unchanged == 3


def test_bad_files_are_replaced_with_owner_and_mode(keep: Keep, cache: Path) -> None:
    (blob,) = cache.glob(f"*/blobs/{NAME.hex}")
    flip(blob)
    blob.chmod(0o640)
    inode = blob.stat().st_ino
    assert [one.path for one in verify_cache(cache, None).corrupt] == [str(blob)]

    report = verify_cache(cache, keep, repair=True)

    assert report.ok
    assert report.repaired == (NAME,)
    assert blob.read_bytes() == WEIGHTS
    assert blob.stat().st_mode & 0o7777 == 0o640
    assert blob.stat().st_ino != inode
    assert sorted(path.name for path in blob.parent.iterdir()) == sorted(
        hash_bytes(data, "sha256" if name.startswith("model") else "git-sha1").hex
        for name, data in FILES.items()
    )


def test_without_a_keep_it_is_fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (blob,) = cache.glob(f"*/blobs/{NAME.hex}")
    flip(blob)
    (
        cache / f"models--org--model/blobs/{hash_bytes(FILES['config.json'], 'git-sha1').hex}"
    ).unlink()

    assert not verify_cache(cache, None).ok
    report = verify_cache(cache, None, repair=True)

    assert report.ok, report
    assert blob.read_bytes() == WEIGHTS
    assert verify_cache(cache, None).ok
    assert not [path for path in cache.rglob("*") if path.name.startswith(".modelkeep-")]


def test_what_is_the_keeps_own_inode_heals_there(keep: Keep, pulled: Path, tmp_path: Path) -> None:
    keep.link("org/model", into=tmp_path / "linked")
    flip(keep.store.path(NAME))

    report = verify_cache(tmp_path / "linked", keep, repair=True)

    assert report.ok
    assert keep.verify().ok
    assert loaded(keep, "org/model") == FILES


def test_names_that_share_an_inode_share_the_new_one(
    keep: Keep, cache: Path, tmp_path: Path
) -> None:
    (blob,) = cache.glob(f"*/blobs/{NAME.hex}")
    other = cache / "models--org--other/blobs" / NAME.hex
    other.parent.mkdir(parents=True)
    os.link(blob, other)
    flip(blob)

    assert verify_cache(cache, keep, repair=True).ok
    assert other.samefile(blob)

    os.link(blob, tmp_path / "elsewhere")
    flip(blob)
    report = verify_cache(cache, keep, repair=True)
    assert not report.corrupt
    (left,) = report.unverifiable
    assert "1 more name" in left.reason


def test_killed_at_any_step_each_file_is_the_old_one_or_good(
    keep: Keep, cache: Path, tmp_path: Path
) -> None:
    (blob,) = cache.glob(f"*/blobs/{NAME.hex}")

    def repair() -> bool:
        return verify_cache(cache, keep, repair=True, jobs=1).ok

    flip(blob)
    steps = forks.steps(repair, tmp_path / "steps.log")
    assert {"repair:copied#1", "repair:sealed#1", "repair:replaced#1"} <= set(steps)
    for step in steps:
        flip(blob)
        bad = blob.read_bytes()

        assert forks.start(repair, sync=f"kill:{step}").killed(), step

        assert blob.read_bytes() in (bad, WEIGHTS), step
        assert forks.run(repair), step
        assert blob.read_bytes() == WEIGHTS, step


def test_payloads_of_newer_clients_are_read_through(
    keep: Keep, pulled: Path, tmp_path: Path
) -> None:
    revision = caches.Revision("org/model", FILES)
    caches.write(tmp_path / "newer", revision, shared=True)
    (link,) = (tmp_path / "newer").glob(f"*/blobs/{NAME.hex}")
    assert link.is_symlink()
    assert verify_cache(tmp_path / "newer", None).ok
    flip(link.resolve())

    assert verify_cache(tmp_path / "newer", keep, repair=True).ok
    assert link.is_symlink()
    assert link.read_bytes() == WEIGHTS


def test_places_that_are_no_cache_are_refused(keep: Keep, cache: Path) -> None:
    assert verify_cache(cache.parent, None).ok  # an HF_HOME: its hub is meant
    for place in (cache.parent.parent, cache / "models--org--model", cache / "none"):
        with pytest.raises(NotFoundError):
            verify_cache(place, None)


@pytest.mark.parametrize("place", ["models--org--model", "models--org--model/blobs"])
def test_what_another_user_has_linked_away_is_not_written_to(
    keep: Keep, cache: Path, tmp_path: Path, place: str
) -> None:
    need_root()
    (blob,) = cache.glob(f"*/blobs/{NAME.hex}")
    flip(blob)
    bad = blob.read_bytes()
    folder = cache / place
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    os.lchown(folder, STRANGER, STRANGER)
    inode = blob.stat().st_ino

    report = verify_cache(cache, keep, repair=True)

    assert (blob.read_bytes(), blob.stat().st_ino) == (bad, inode)
    (left,) = report.not_repaired
    assert f"is a link that uid {STRANGER} made" in left.reason
    os.lchown(folder, 0, 0)
    assert verify_cache(cache, keep, repair=True).ok
    assert blob.read_bytes() == WEIGHTS
