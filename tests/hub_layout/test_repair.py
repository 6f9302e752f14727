"""What a verification finds bad is made good, from wherever the right bytes are."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from modelkeep.errors import BusyError, NotFoundError
from modelkeep.keep import Keep
from modelkeep.store.digest import Digest, hash_bytes
from modelkeep.store.report import VerifyReport
from tests import forks
from tests.hub import Hub
from tests.keeping import loaded
from tests.models import random_bytes
from tests.store.support import flip

WEIGHTS = random_bytes((1 << 20) + 5, 1)
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "deep/vocab.txt": b"[PAD]\n"}
NAME = hash_bytes(WEIGHTS, "sha256")


@pytest.fixture
def pulled(keep: Keep, hub: Hub) -> Path:
    hub.repo("org/model").commit(FILES)
    return keep.pull("org/model").snapshot


@pytest.fixture
def gone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be fetched."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def is_good_again(keep: Keep, report: VerifyReport) -> None:
    assert report.ok, report
    assert loaded(keep, "org/model") == FILES
    assert keep.is_complete("org/model")
    again = keep.verify()
    assert again.ok
    assert not again.repaired


def backup(keep: Keep, tmp_path: Path) -> Path:
    shutil.copytree(keep.hub.directory, tmp_path / "backup/hub", symlinks=True)
    return tmp_path / "backup/hub"


def test_a_bad_blob_heals_from_upstream_in_its_own_inode(
    keep: Keep, pulled: Path, tmp_path: Path
) -> None:
    blob = keep.store.path(NAME)
    inode = blob.stat().st_ino
    os.link(blob, tmp_path / "elsewhere")
    flip(blob)

    report = keep.verify(repair=True)

    is_good_again(keep, report)
    assert report.repaired == (NAME,)
    assert [(one.path, one.how) for one in report.repairs] == [(str(blob), "rewritten")]
    assert "org/model" in report.repairs[0].source
    assert blob.stat().st_ino == inode
    assert (tmp_path / "elsewhere").read_bytes() == WEIGHTS
    (kept,) = keep.store.layout.trash.iterdir()
    assert kept.name.endswith(NAME.file_name)


@pytest.mark.parametrize("place", ["cache", "keep", "folder", "file", "renamed"])
def test_a_bad_blob_heals_from_any_place(
    keep: Keep, pulled: Path, gone: None, tmp_path: Path, place: str
) -> None:
    source = tmp_path / "source"
    if place == "cache":
        source = backup(keep, tmp_path)
    elif place == "keep":
        shutil.copytree(keep.directory, source, symlinks=True)
    elif place == "file":
        source.write_bytes(WEIGHTS)
    else:
        source.mkdir()
        (source / "other.bin").write_bytes(WEIGHTS[::-1])  # the size is right, nothing else
        (source / (NAME.hex if place == "folder" else "some.bin")).write_bytes(WEIGHTS)
    flip(keep.store.path(NAME), 77)

    is_good_again(keep, keep.verify(repair=True, source=source))


def test_a_name_that_lies_heals_nothing(
    keep: Keep, pulled: Path, gone: None, tmp_path: Path
) -> None:
    (tmp_path / NAME.hex).write_bytes(WEIGHTS[::-1])
    flip(keep.store.path(NAME))
    bad = keep.store.path(NAME).read_bytes()

    report = keep.verify(repair=True, source=tmp_path / NAME.hex)

    assert [one.digest for one in report.corrupt] == [NAME]
    assert keep.store.path(NAME).read_bytes() == bad
    (left,) = report.not_repaired
    assert "127.0.0.1" in left.reason
    assert not keep.store.has_sound(NAME)


def test_a_place_that_holds_nothing_is_refused(keep: Keep, pulled: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(NotFoundError):
            keep.verify(repair=True, source=place)


def test_another_registered_cache_is_a_source(
    keep: Keep, pulled: Path, gone: None, tmp_path: Path
) -> None:
    keep.link("org/model", into=tmp_path / "cache")
    (theirs,) = (tmp_path / "cache").glob(f"*/blobs/{NAME.hex}")
    theirs.unlink()
    theirs.write_bytes(WEIGHTS)
    flip(keep.store.path(NAME))

    is_good_again(keep, keep.verify(repair=True))


def test_copies_in_other_caches_are_checked_and_replaced_by_themselves(
    keep: Keep, pulled: Path, gone: None, tmp_path: Path
) -> None:
    keep.link("org/model", into=tmp_path / "cache")
    (theirs,) = (tmp_path / "cache").glob(f"*/blobs/{NAME.hex}")
    theirs.unlink()
    theirs.write_bytes(WEIGHTS[:-1])

    found = keep.verify()
    assert [(one.path, one.repos) for one in found.corrupt] == [
        (str(theirs), (f"cache {tmp_path / 'cache'}",))
    ]
    is_good_again(keep, keep.verify(repair=True))
    assert theirs.read_bytes() == WEIGHTS
    assert theirs.samefile(keep.store.path(NAME))


def test_a_small_copy_is_marked_and_then_replaced(keep: Keep, pulled: Path, gone: None) -> None:
    blob = (pulled / "config.json").resolve()
    flip(blob)  # the size and the times stay

    assert not keep.verify().ok
    assert not keep.is_complete("org/model")

    report = keep.verify(repair=True)
    is_good_again(keep, report)
    assert [one.path for one in report.repairs] == [str(blob)]
    assert len(list(keep.store.layout.trash.iterdir())) == 1


def test_a_mark_ends_when_the_file_is_written(keep: Keep, pulled: Path) -> None:
    blob = (pulled / "config.json").resolve()
    flip(blob)
    keep.verify()
    assert list(keep.store.layout.bad.iterdir())

    keep.pull("org/model")

    assert keep.is_complete("org/model")
    assert keep.verify().ok
    assert not list(keep.store.layout.bad.iterdir())


@pytest.mark.parametrize("named", [(), ("org/model",)])
def test_what_is_missing_comes_back(keep: Keep, pulled: Path, named: tuple[str, ...]) -> None:
    (pulled / "config.json").resolve().unlink()
    weights = (pulled / "model.safetensors").resolve()
    weights.unlink()
    keep.store.path(NAME).unlink()

    report = keep.verify(*named, repair=True)

    is_good_again(keep, report)
    assert NAME in report.repaired
    assert weights.samefile(keep.store.path(NAME))


def test_a_link_in_place_of_a_blob_is_never_followed(
    keep: Keep, pulled: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(WEIGHTS)
    blob = keep.store.path(NAME)
    (pulled / "model.safetensors").resolve().unlink()
    blob.unlink()
    blob.symlink_to(secret)

    assert not keep.verify().ok
    is_good_again(keep, keep.verify(repair=True))
    assert not blob.is_symlink()
    assert secret.stat().st_nlink == 1


def test_a_hub_link_that_leads_out_is_not_followed(
    keep: Keep, pulled: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"private")
    blob = (pulled / "config.json").resolve()
    blob.unlink()
    blob.symlink_to(outside)

    (odd,) = keep.verify().unverifiable

    assert "leads out" in odd.reason
    keep.verify(repair=True)
    assert outside.read_bytes() == b"private"


def test_a_folder_in_place_of_a_blob_is_left_and_said(keep: Keep, pulled: Path) -> None:
    blob = keep.store.path(NAME)
    blob.unlink()
    blob.mkdir()

    report = keep.verify(repair=True)

    assert not report.ok
    assert any("folder" in left.reason for left in report.not_repaired)
    assert blob.is_dir()


def test_a_lost_side_file_costs_a_hash_and_nothing_else(keep: Keep, pulled: Path) -> None:
    side = keep.store.layout.meta(NAME)
    side.write_text("{not json")
    flip(keep.store.path(NAME))

    assert not keep.verify().ok
    info = keep.store.info(NAME)
    assert info is not None
    assert (info.intact, info.checked_at) == (False, None)
    is_good_again(keep, keep.verify(repair=True))


def test_a_thousand_flips_and_cuts_are_all_found_and_repaired(keep: Keep, tmp_path: Path) -> None:
    chance = random.Random(4)
    data = [chance.randbytes(chance.randrange(1, 3000)) for _ in range(1000)]
    good = tmp_path / "good"
    good.mkdir()
    names: list[Digest] = []
    for number, one in enumerate(data):
        names.append(hash_bytes(one, "sha256"))
        part = keep.store.layout.tmp / "part"
        part.write_bytes(one)
        keep.store.publish(part, names[-1])
        (good / f"file-{number}").write_bytes(one)
    shared = tmp_path / "shared"
    shared.mkdir()
    for name, one in zip(names, data, strict=True):
        blob = keep.store.path(name)
        os.link(blob, shared / name.hex)
        if chance.random() < 0.5:
            flip(blob, chance.randrange(len(one) * 8))
        else:
            blob.chmod(0o644)
            os.truncate(blob, chance.randrange(len(one)))
            blob.chmod(0o444)

    found = keep.verify()
    assert {one.digest for one in found.corrupt} == set(names)

    report = keep.verify(repair=True, source=good)
    assert report.ok
    assert set(report.repaired) == set(names)
    for name, one in zip(names, data, strict=True):
        assert (shared / name.hex).read_bytes() == one


def test_killed_at_any_step_nothing_is_silently_bad(
    keep: Keep, pulled: Path, tmp_path: Path
) -> None:
    place = backup(keep, tmp_path)
    small = (pulled / "config.json").resolve()

    def damage() -> None:
        flip(keep.store.path(NAME), 8)
        if small.read_bytes() == FILES["config.json"]:
            flip(small)

    def repair() -> bool:
        return Keep.open(keep.directory).verify(repair=True, source=place, jobs=1).ok

    damage()
    steps = forks.steps(repair, tmp_path / "steps.log")
    named = {step.partition("#")[0] for step in steps}
    assert {"repair:copied", "repair:brought", "heal:marked", "heal:rewritten"} <= named
    assert {"heal:noted", "repair:placed"} <= named
    for step in steps:
        damage()

        assert forks.start(repair, sync=f"kill:{step}").killed(), step

        good = keep.store.path(NAME).read_bytes() == WEIGHTS
        assert good or not keep.store.has_sound(NAME) or not keep.verify().ok, step
        assert forks.run(repair), step
        assert loaded(keep, "org/model") == FILES, step
        assert keep.verify().ok, step


def test_a_repo_removed_while_it_is_repaired_stays_away(
    keep: Keep, pulled: Path, tmp_path: Path
) -> None:
    place = backup(keep, tmp_path)
    (pulled / "model.safetensors").resolve().unlink()
    keep.store.path(NAME).unlink()
    repair = forks.start(
        lambda: keep.verify(repair=True, source=place, jobs=1), sync="stop:repair:brought"
    )
    repair.stopped()
    keep.remove(keep.plan_removal("org/model"))
    repair.resume()
    repair.result()
    assert not (keep.hub.directory / "models--org--model").exists()


def test_a_revision_removed_while_a_copy_is_mended_stays_away(keep: Keep, pulled: Path) -> None:
    flip((pulled / "config.json").resolve())
    keep.verify()
    repair = forks.start(lambda: keep.verify(repair=True, jobs=1), sync="stop:repair:kept")
    repair.stopped()
    keep.remove(keep.plan_removal("org/model"))
    repair.resume()
    repair.result()
    assert not (keep.hub.directory / "models--org--model").exists()


def test_nobody_removes_what_a_repair_is_placing(keep: Keep, pulled: Path) -> None:
    (pulled / "model.safetensors").resolve().unlink()
    repair = forks.start(lambda: keep.verify(repair=True, jobs=1).ok, sync="stop:repair:placed")
    repair.stopped()
    with pytest.raises(BusyError, match="verify --repair"):
        keep.plan_removal("org/model")
    repair.resume()
    assert repair.result()
    assert loaded(keep, "org/model") == FILES
    keep.remove(keep.plan_removal("org/model"))


def test_repairs_readers_and_pulls_at_once(keep: Keep, pulled: Path, tmp_path: Path) -> None:
    place = backup(keep, tmp_path)
    flip(keep.store.path(NAME), 9)
    keep.verify(jobs=1)

    def repair() -> bool:
        return Keep.open(keep.directory).verify(repair=True, source=place, jobs=1).ok

    def pull() -> bool:
        Keep.open(keep.directory).pull("org/model")
        return True

    def check() -> bool:
        Keep.open(keep.directory).verify(jobs=1)
        return True

    assert all(forks.together([repair, pull, check, repair, pull, check]))

    assert keep.verify().ok
    assert loaded(keep, "org/model") == FILES


def test_a_bad_copy_is_never_a_source(keep: Keep, pulled: Path, gone: None, tmp_path: Path) -> None:
    place = backup(keep, tmp_path)
    (theirs,) = place.glob(f"*/blobs/{NAME.hex}")
    flip(theirs, 1)
    flip(keep.store.path(NAME), 2)
    bad = keep.store.path(NAME).read_bytes()

    assert not keep.verify(repair=True, source=place).ok

    assert keep.store.path(NAME).read_bytes() == bad
    assert not list(keep.store.layout.tmp.glob("repair-*"))
