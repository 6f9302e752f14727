"""What caches hold, and what of it exists twice, is told from names alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from modelkeep.fs.answering import Patience
from modelkeep.hub import tree
from modelkeep.hub.survey import CacheSurvey, Skipped, Survey, survey
from modelkeep.hub.tree import TreeFile
from modelkeep.keep import Keep
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store
from modelkeep.store.taking import Outcome, take
from tests import forks
from tests.filesystems import bind
from tests.fs.test_answering import dead_mount

STRANGER = 4242
COMMIT = "c" * 40
MIB = 1 << 20


def write(cache: Path, repo: str, *contents: bytes) -> list[Path]:
    """Write a repo as stock clients do; return its blobs."""
    top = cache / f"models--org--{repo}"
    snapshot = top / "snapshots" / COMMIT
    for folder in (top / "blobs", snapshot):
        folder.mkdir(parents=True)
    blobs = []
    for number, data in enumerate(contents):
        blob = top / "blobs" / sha256(data).hexdigest()
        blob.write_bytes(data)
        (snapshot / f"file{number}").symlink_to(f"../../blobs/{blob.name}")
        blobs.append(blob)
    return blobs


def look(*caches: Path, store: Store | None = None, besides: Path | None = None) -> Survey:
    return survey({str(cache): "the test" for cache in caches}, store, besides=besides)


def numbers(found: Survey) -> dict[str, tuple[int, int, int, int]]:
    return {
        cache.dir.name: (cache.repos, cache.bytes, cache.bytes_duplicate, cache.bytes_shared)
        for cache in found.caches
    }


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[None]:
    """Every blob of the test still has the times it was written with."""
    yield
    for blob in tmp_path.glob("*/models--*/blobs/*"):
        if blob.is_file() and not blob.is_symlink():
            assert blob.stat().st_atime_ns <= blob.stat().st_mtime_ns


def test_what_is_no_cache_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    paths = [tmp_path / name for name in ("file", "empty", "missing", "loop")]
    assert look(*paths) == Survey((), (), 0)


def test_the_smaller_of_two_caches_holds_the_duplicates(tmp_path: Path, unread: None) -> None:
    write(tmp_path / "large", "a", b"shared" * MIB, b"large alone")
    write(tmp_path / "small", "b", b"shared" * MIB, b"small")
    found = look(tmp_path / "small", tmp_path / "large")
    assert numbers(found) == {
        "small": (1, 6 * MIB + 5, 6 * MIB, 0),
        "large": (1, 6 * MIB + 11, 0, 0),
    }
    assert found.bytes == 12 * MIB + 16
    assert [cache.shares for cache in found.caches] == [True, True]


def test_small_files_stay_copies_and_are_no_duplicates(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, "a", b"configuration")
    found = look(tmp_path / "one", tmp_path / "two")
    assert numbers(found) == {"one": (1, 13, 0, 0), "two": (1, 13, 0, 0)}
    assert [cache.shares for cache in found.caches] == [False, False]


def test_two_repos_of_one_cache_hold_duplicates(tmp_path: Path) -> None:
    write(tmp_path / "cache", "a", b"shared" * MIB)
    write(tmp_path / "cache", "b", b"shared" * MIB)
    assert numbers(look(tmp_path / "cache")) == {"cache": (2, 12 * MIB, 6 * MIB, 0)}


def test_what_the_store_has_is_a_duplicate_until_it_is_its_inode(
    tmp_path: Path, keep: Keep
) -> None:
    store = keep.store
    (blob,) = write(tmp_path / "cache", "a", b"weights" * MIB)
    assert numbers(look(tmp_path / "cache", store=store))["cache"] == (1, 7 * MIB, 0, 0)
    assert take(store, blob, Digest("sha256", blob.name)).outcome is Outcome.TAKEN
    assert numbers(look(tmp_path / "cache", store=store))["cache"] == (1, 7 * MIB, 0, 7 * MIB)
    data = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(data)
    (cache,) = look(tmp_path / "cache", store=store).caches
    assert (cache.bytes_duplicate, cache.shares) == (7 * MIB, True)


def test_an_inode_counts_once_whatever_leads_to_it(tmp_path: Path) -> None:
    (blob,) = write(tmp_path / "one", "a", b"weights")
    (other,) = write(tmp_path / "one", "b", b"weights")
    (third,) = write(tmp_path / "two", "c", b"weights")
    other.unlink()
    other.symlink_to(blob)  # as clients with a shared blob store do
    third.unlink()
    third.hardlink_to(blob)
    (tmp_path / "again").symlink_to("one")
    found = look(*(tmp_path / name for name in ("again", "one", "two")))
    assert numbers(found) == {"one": (2, 7, 0, 0), "two": (1, 7, 0, 7)}
    assert found.bytes == 7


@pytest.mark.real
def test_a_cache_that_is_mounted_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "cache", "a", b"weights")
    with bind(tmp_path, tmp_path / "cache") as second:
        assert len(look(tmp_path / "cache", second).caches) == 1
        assert look(second, besides=tmp_path / "cache").caches == ()


def test_files_of_snapshots_without_links_count(tmp_path: Path) -> None:
    weights = b"weights" * MIB
    write(tmp_path / "linked", "a", weights)
    top = tmp_path / "plain/models--org--a"
    (top / "snapshots" / COMMIT / "deep").mkdir(parents=True)
    (top / "trees").mkdir()
    (top / "snapshots" / COMMIT / "deep/model.bin").write_bytes(weights)
    (top / "snapshots" / COMMIT / "unknown").write_bytes(b"?")
    digest = Digest("sha256", sha256(weights).hexdigest())
    note = tree.dump([TreeFile("deep/model.bin", len(weights), digest, "0" * 40)])
    (top / f"trees/{COMMIT}.json").write_bytes(note)
    found = numbers(look(tmp_path / "linked", tmp_path / "plain"))
    assert found["plain"] == (1, 7 * MIB + 1, 0, 0)  # the larger one
    assert found["linked"] == (1, 7 * MIB, 7 * MIB, 0)


def test_names_that_are_no_checksums_and_other_sizes_are_no_duplicates(tmp_path: Path) -> None:
    for cache in ("one", "two"):
        (blob,) = write(tmp_path / cache, "a", b"weights")
        blob.rename(blob.with_name("etag-of-a-mirror"))
        (cut,) = write(tmp_path / cache, "b", b"whole")
        cut.with_name("x.incomplete").write_bytes(b"12345")
        if cache == "one":
            cut.write_bytes(b"who")
    assert numbers(look(tmp_path / "one", tmp_path / "two")) == {
        "two": (2, 12, 0, 0),
        "one": (2, 10, 0, 0),
    }


def test_the_hub_of_a_keep_is_no_cache_to_adopt(keep: Keep) -> None:
    write(keep.hub.directory, "a", b"weights")
    assert look(keep.hub.directory).caches == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
@pytest.mark.parametrize("closed", ["cache", "cache/models--org--a"])
def test_what_this_caller_cannot_read_is_reported(tmp_path: Path, closed: str) -> None:
    write(tmp_path / "cache", "a", b"weights")
    (tmp_path / closed).chmod(0o700)
    tmp_path.chmod(0o755)

    def ask() -> Survey:
        os.chdir(tmp_path)  # the folders above are closed as well
        os.setuid(STRANGER)
        return survey({"cache": "the test"})

    (found,) = forks.run(ask).caches
    assert (found.owner, found.uid, found.repos, found.needs_root) == ("root", 0, 0, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
def test_a_closed_home_is_said_to_be_closed(tmp_path: Path) -> None:
    write(tmp_path / "home/hub", "a", b"weights")
    (tmp_path / "home").chmod(0o700)
    tmp_path.chmod(0o755)

    def ask() -> Survey:
        os.chdir(tmp_path)
        os.setuid(STRANGER)
        return survey({"home/hub": "the test"})

    assert forks.run(ask).skipped == (Skipped(Path("home/hub"), "permission denied"),)


@pytest.mark.real
def test_a_dead_mount_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "cache", "a", b"weights")
    with dead_mount(tmp_path / "dead") as dead:
        paths = {str(dead / "hub"): "the test", str(tmp_path / "cache"): "the test"}
        found = survey(paths, patience=Patience(shared_s=0.3, local_s=60))
    assert [cache.dir for cache in found.caches] == [tmp_path / "cache"]
    assert found.skipped == (Skipped(dead / "hub", "the file system does not answer"),)


def test_a_survey_says_whose_a_cache_is_and_what_led_there(tmp_path: Path) -> None:
    write(tmp_path / "cache", "a", b"weights")
    (cache,) = look(tmp_path / "cache").caches
    assert cache == CacheSurvey(
        dir=tmp_path / "cache",
        owner=(tmp_path / "cache").owner(),
        uid=os.geteuid(),
        repos=1,
        bytes=7,
        bytes_duplicate=0,
        needs_root=False,
        bytes_shared=0,
        found_by="the test",
        shares=False,
    )
