"""`modelkeep adopt` as people and scripts see it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from modelkeep.keep import Keep
from tests.caches import Revision, etag, picture, write
from tests.cli.conftest import Modelkeep
from tests.filesystems import as_user, need_root, public_directory
from tests.models import random_bytes

WEIGHTS = random_bytes(2_000_000, 1)
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return write(tmp_path / "cache", Revision("org/a", FILES), Revision("org/b", FILES))


@pytest.fixture
def keep(modelkeep: Modelkeep, keep_dir: Path) -> Path:
    modelkeep("init", keep_dir)
    return keep_dir


def test_the_document_has_the_numbers(modelkeep: Modelkeep, keep: Path, cache: Path) -> None:
    document = modelkeep("adopt", cache, "--yes", "--format", "json").document

    assert set(document) == {
        "schema", "files", "bytes_total", "bytes_shared", "bytes_freed", "skipped", "corrupt",
        "broken", "mended", "journal", "dry_run", "caches",
    }  # fmt: skip
    assert (document["files"], document["bytes_total"]) == (4, 2 * SIZE)
    assert document["bytes_shared"] == 2 * len(WEIGHTS)
    assert document["bytes_freed"] > len(WEIGHTS) * 0.9
    assert document["skipped"] == document["corrupt"] == document["broken"] == []
    assert Path(document["journal"]).parent == keep / "store/journals"
    (one,) = document["caches"]
    assert (one["cache"], one["merge"], one["set_aside"]) == (str(cache), False, None)

    again = modelkeep("adopt", cache, "--format", "json").document
    assert (again["bytes_freed"], again["journal"], again["skipped"]) == (0, None, [])


def test_a_dry_run_changes_nothing(modelkeep: Modelkeep, keep: Path, cache: Path) -> None:
    before = picture(cache)

    document = modelkeep("adopt", cache, "--dry-run", "--format", "json").document

    assert document["dry_run"] is True
    assert document["bytes_freed"] > len(WEIGHTS) * 0.9
    assert document["journal"] is None
    assert picture(cache) == before
    assert not any((keep / "store/blobs/sha256").rglob("*/??*?"))


@pytest.mark.parametrize("merge", [False, True])
def test_a_dry_run_needs_no_keep_and_makes_none(
    modelkeep: Modelkeep, keep_dir: Path, cache: Path, merge: bool
) -> None:
    arguments = ["adopt", str(cache), *(["--merge"] if merge else []), "--format", "json"]

    expected = modelkeep(*arguments, "--dry-run").document

    assert not keep_dir.exists()
    done = modelkeep(*arguments, "--yes").document
    for field in ("files", "bytes_total"):
        assert expected[field] == done[field], field
    assert expected["bytes_freed"] > len(WEIGHTS) * 0.9
    assert done["journal"] is not None


def test_without_a_terminal_it_wants_to_be_told(
    modelkeep: Modelkeep, keep: Path, cache: Path
) -> None:
    asked = modelkeep("adopt", cache)
    assert asked.code == 2
    assert "--yes" in asked.err
    assert not any((keep / "store/blobs/sha256").glob("*/*"))


def test_merge_and_back(modelkeep: Modelkeep, keep: Path, cache: Path) -> None:
    before = picture(cache)
    document = modelkeep("adopt", "--merge", cache, "--yes", "--format", "json").document
    assert Path(document["caches"][0]["set_aside"]).is_dir()
    assert cache.samefile(keep / "hub")
    again = modelkeep("adopt", cache)
    assert (again.code, "already" in again.out) == (0, True)

    planned = modelkeep("adopt", "--undo", cache, "--dry-run", "--format", "json").document
    assert (planned["files"], planned["dry_run"]) == (4, True)
    undone = modelkeep("adopt", "--undo", cache, "--yes", "--format", "json").document

    assert set(undone) == {"schema", "files", "bytes_restored", "skipped", "dry_run", "caches"}
    assert (undone["files"], undone["bytes_restored"]) == (4, 2 * SIZE)
    assert picture(cache) == before


def test_corrupt_files_are_named_and_end_with_1(
    modelkeep: Modelkeep, keep: Path, cache: Path
) -> None:
    for blob in cache.glob(f"*/blobs/{etag(WEIGHTS)}"):
        blob.write_bytes(b"\0" + WEIGHTS[1:])

    done = modelkeep("adopt", cache, "--yes")

    assert done.code == 1
    assert done.out.count("corrupt ") == 2
    assert "modelkeep pull org/a@" in done.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["nowhere"], 1),
        (["--undo", "nowhere"], 1),
        (["--undo"], 1),
        (["--undo", "--merge"], 2),
        (["keep/hub"], 2),
        (["keep"], 2),
        (["."], 2),
        (["loop"], 1),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    modelkeep: Modelkeep, keep: Path, tmp_path: Path, arguments: list[str], code: int
) -> None:
    (tmp_path / "loop").symlink_to("loop")

    done = modelkeep("adopt", *arguments, "--yes", cwd=tmp_path)

    assert done.code == code, done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") <= 2


@pytest.mark.real
def test_root_goes_on_as_the_owner(modelkeep: Modelkeep) -> None:
    need_root()
    nobody = pwd.getpwnam("nobody")
    with public_directory() as base:
        as_user(nobody.pw_uid, lambda: Keep.create(base / "keep"), gid=nobody.pw_gid)
        cache = as_user(nobody.pw_uid, lambda: write(base / "cache", Revision("org/a", FILES)))

        done = modelkeep("--keep", base / "keep", "adopt", "--merge", cache, "--yes")

        assert done.code == 0, done.err
        assert "working as nobody" in done.err
        assert cache.samefile(base / "keep/hub")
        assert {path.lstat().st_uid for path in base.rglob("*")} == {nobody.pw_uid}


@pytest.mark.real
def test_somebody_elses_cache_is_refused(modelkeep: Modelkeep) -> None:
    need_root()
    with public_directory() as base:
        cache = write(base / "cache", Revision("org/a", FILES))
        os.chown(cache, 4242, 4242)
        modelkeep("init", base / "keep")

        done = modelkeep("--keep", base / "keep", "adopt", cache, "--yes")

        assert done.code == 1
        assert "belongs to a uid" in done.err
        assert as_user(4242, lambda: cache.stat().st_uid) == 4242


def test_a_declined_adoption_makes_no_keep(
    modelkeep: Modelkeep, keep_dir: Path, cache: Path
) -> None:
    assert modelkeep("adopt", cache).code == 2

    assert not keep_dir.exists()


def test_what_was_done_before_a_failure_is_told(
    modelkeep: Modelkeep, keep: Path, cache: Path, tmp_path: Path
) -> None:
    other = write(tmp_path / "other", Revision("org/other", {"a.bin": WEIGHTS}))
    download = other / "models--org--other/blobs" / f"{'0' * 64}.incomplete"
    download.write_text("half")

    done = modelkeep("adopt", cache, other, "--merge", "--yes", "--format", "json")

    assert done.code == 3
    (one,) = done.document["caches"]
    assert one["cache"] == str(cache)
    assert done.document["error"]["exit_code"] == 3
    assert "downloading" in done.err
