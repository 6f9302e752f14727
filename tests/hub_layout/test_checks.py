"""Verification covers what loaders open: the store, and the hub's own files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from modelkeep.hub.repo import parse
from modelkeep.keep import Keep
from modelkeep.store.digest import hash_bytes
from modelkeep.store.report import VerifyReport
from tests.hub import Hub, Repository
from tests.keeping import held_by
from tests.store.support import flip

WEIGHTS = bytes(range(256)) * 8000
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "vocab.txt": b"[PAD]\n"}


@pytest.fixture
def pulled(keep: Keep, hub: Hub) -> Path:
    hub.repo("org/model").commit(FILES)
    return keep.pull("org/model").snapshot


def checked(keep: Keep, *repos: str) -> VerifyReport:
    begun: list[int] = []
    told: list[int] = []
    report = keep.verify(*repos, begin=begun.append, progress=told.append)
    assert begun == [sum(told)] == [report.bytes]
    return report


def edit(path: Path, data: bytes) -> None:
    path.resolve().chmod(0o644)
    path.write_bytes(data)


def downloaded(keep: Keep, hub: Hub, repo: str) -> Path:
    """Let a stock client write into the keep's hub."""
    return Path(snapshot_download(repo, cache_dir=keep.hub.directory, endpoint=hub.endpoint))


@pytest.mark.parametrize("named", [(), ("org/model",)])
def test_copies_in_the_hub_are_hashed_too(keep: Keep, pulled: Path, named: tuple[str, ...]) -> None:
    assert checked(keep, *named).files == 3 + 2  # the large file is the store's own inode
    blob = (pulled / "vocab.txt").resolve()
    edit(pulled / "vocab.txt", b"[DAP]\n")

    report = checked(keep, *named)

    assert not report.ok
    (bad,) = report.corrupt
    assert (bad.path, bad.repos) == (str(blob), ("org/model",))
    assert bad.digest == hash_bytes(FILES["vocab.txt"], "git-sha1")
    keep.pull("org/model")
    assert (pulled / "vocab.txt").read_bytes() == FILES["vocab.txt"]
    assert checked(keep).ok


@pytest.mark.parametrize("named", [(), ("org/model",)])
@pytest.mark.parametrize(
    ("note", "text"), [("refs/main", ""), ("refs/main", "main\n"), ("trees/{}.json", "[1, 2]")]
)
def test_damaged_notes_are_listed_until_a_pull_writes_them_anew(
    keep: Keep, pulled: Path, named: tuple[str, ...], note: str, text: str
) -> None:
    path = pulled.parent.parent / note.format(pulled.name)
    path.write_text(text)

    report = checked(keep, *named)

    assert not report.ok
    assert [(found.digest, found.path) for found in report.unverifiable] == [(None, str(path))]
    keep.pull("org/model")
    assert checked(keep, *named).ok


def test_a_listing_of_a_later_version_is_no_damage(keep: Keep, pulled: Path) -> None:
    (tree,) = (pulled.parent.parent / "trees").iterdir()
    tree.write_text('{"format_version": 2}')
    assert checked(keep).ok


@pytest.mark.parametrize("named", [(), ("org/model",)])
def test_what_is_gone_is_missing(keep: Keep, pulled: Path, named: tuple[str, ...]) -> None:
    (pulled / "vocab.txt").resolve().unlink()
    keep.store.path(hash_bytes(WEIGHTS, "sha256")).unlink()

    report = checked(keep, *named)

    assert not report.ok
    assert report.missing == (hash_bytes(FILES["vocab.txt"], "git-sha1"),)
    # The hub still had the large file, which settling brings back.
    assert report.repaired == (hash_bytes(WEIGHTS, "sha256"),)
    keep.pull("org/model")
    assert checked(keep, *named).ok


@pytest.mark.parametrize("named", [(), ("org/model", "org/other")])
def test_what_a_client_brought_heals_on_the_way(
    keep: Keep, pulled: Path, hub: Hub, named: tuple[str, ...]
) -> None:
    name = hash_bytes(WEIGHTS, "sha256")
    flip(keep.store.path(name))
    hub.repo("org/other").commit({"model.safetensors": WEIGHTS})
    downloaded(keep, hub, "org/other")

    report = checked(keep, *named)

    assert report.ok
    assert report.repaired == (name,)
    assert (pulled / "model.safetensors").read_bytes() == WEIGHTS
    assert not checked(keep).repaired


def test_what_a_partial_pull_left_out_is_not_missing(keep: Keep, hub: Hub) -> None:
    hub.repo("org/model").commit(FILES)
    keep.pull("org/model", include=["*.json"])

    assert checked(keep).ok
    assert checked(keep, "org/model").ok


@pytest.mark.parametrize("named", [(), ("org/tiny",)])
def test_what_a_stock_client_brought_is_hashed(
    keep: Keep, hub: Hub, tiny_repo: Repository, named: tuple[str, ...]
) -> None:
    top = downloaded(keep, hub, "org/tiny")
    files = [path for path in top.rglob("*") if not path.is_dir()]

    report = checked(keep, *named)
    assert report.ok
    assert report.files == len({path.resolve() for path in files})

    edit(files[0], b"?" + files[0].read_bytes()[1:])
    (bad,) = checked(keep, *named).corrupt
    assert bad.path == str(files[0].resolve())


def test_a_client_that_brings_back_what_was_removed_lacks_nothing(
    keep: Keep, hub: Hub, pulled: Path
) -> None:
    keep.remove(keep.plan_removal("org/model"))
    downloaded(keep, hub, "org/model")

    assert checked(keep).ok


def test_names_that_are_no_checksums_are_said(keep: Keep, pulled: Path) -> None:
    odd = keep.hub.directory / "models--org--model/blobs/some-etag"
    odd.write_bytes(b"?")
    (pulled / "odd.txt").symlink_to("../../blobs/some-etag")

    report = checked(keep)

    assert [(found.digest, found.path) for found in report.unverifiable] == [(None, str(odd))]


def test_files_that_are_no_links_are_checked_by_the_note(keep: Keep, pulled: Path) -> None:
    (pulled / "config.json").unlink()
    shutil.copyfile(pulled / "vocab.txt", pulled / "config.json")

    (bad,) = checked(keep).corrupt

    assert bad.path == str(pulled / "config.json")


def test_only_repos_that_still_use_a_bad_blob_are_named(keep: Keep, hub: Hub, pulled: Path) -> None:
    hub.repo("org/other").commit({"model.safetensors": WEIGHTS})
    keep.pull("org/other")
    keep.remove(keep.plan_removal("org/model"))
    edit(keep.store.path(hash_bytes(WEIGHTS, "sha256")), WEIGHTS[::-1])

    (bad,) = checked(keep).corrupt

    assert bad.repos == ("org/other",)


def test_what_is_known_to_be_bad_is_not_complete(keep: Keep, pulled: Path) -> None:
    assert keep.is_complete("org/model")
    (before,) = keep.show("org/model").repos[0].revisions
    assert (before.complete, before.damaged) == (True, 0)

    edit(pulled / "model.safetensors", WEIGHTS[::-1])
    keep.verify()

    assert not keep.is_complete("org/model")
    (after,) = keep.show("org/model").repos[0].revisions
    assert (after.complete, after.damaged) == (False, 1)
    keep.pull("org/model")
    assert keep.is_complete("org/model")


def test_a_file_of_a_wrong_size_is_not_complete(keep: Keep, pulled: Path) -> None:
    edit(pulled / "model.safetensors", WEIGHTS[:-1])

    assert not keep.is_complete("org/model")
    name, _ = parse("org/model")
    assert len(held_by(keep, name.id).files) == len(FILES)
