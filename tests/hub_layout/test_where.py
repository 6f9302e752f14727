"""Which file a loader opens, why that one, and whether it is intact."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from modelkeep.errors import NotFoundError
from modelkeep.keep import Keep
from tests.hub import Hub
from tests.keeping import held_by
from tests.models import TINY, random_bytes
from tests.store.support import flip


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ],
)
def test_what_decides_is_named(
    filled: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, below: str
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    top = tmp_path / "place"
    monkeypatch.setenv(variable, str(top))
    filled.link("org/tiny", into=top / below)

    found = filled.where("org/tiny")

    assert (found.decided_by.name, found.decided_by.value) == (variable, str(top / below))
    assert not found.in_keep
    assert {file.file for file in found.files} == set(TINY)
    assert all(str(file.path).startswith(str(top)) for file in found.files)
    assert all(file.intact is True for file in found.files)


def test_a_cache_without_the_repo_leaves_it_to_the_keep(filled: Keep) -> None:
    found = filled.where("org/tiny")
    assert found.in_keep
    assert all(file.path.is_relative_to(filled.hub.directory) for file in found.files)


def test_the_keeps_own_hub_is_told_as_such(filled: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(filled.hub.directory))
    found = filled.where("org/tiny", "model.safetensors")
    assert found.in_keep
    assert found.decided_by.name == "HF_HUB_CACHE"
    (file,) = found.files
    assert (file.size, file.digest) == (
        300_000,
        next(f.digest for f in held_by(filled, "org/tiny").tree if f.path == file.file),
    )
    assert file.path.resolve() == file.blob


def test_an_edited_small_file_is_not_intact(filled: Keep) -> None:
    (file,) = filled.where("org/tiny", "config.json").files
    file.blob.chmod(0o644)
    file.blob.write_bytes(b"{}")
    os.utime(file.blob, (1, 1))

    (file,) = filled.where("org/tiny", "config.json").files

    assert file.intact is False
    (bad,) = filled.verify().corrupt
    assert bad.path == str(file.blob)


def test_a_damaged_large_file_is_not_intact_once_it_shows(keep: Keep, hub: Hub) -> None:
    repo = hub.repo("org/large")
    repo.commit({"config.json": b"{}", "model.bin": random_bytes(2 << 20)})
    keep.pull(repo.id)
    (file,) = keep.where(repo.id, "model.bin").files
    assert (file.intact, file.links) == (True, 2)
    flip(file.blob)

    (file,) = keep.where(repo.id, "model.bin").files
    assert file.intact is True  # size, time and inode are those last hashed
    assert not keep.verify(repo.id).ok
    (file,) = keep.where(repo.id, "model.bin").files
    assert file.intact is False


def test_a_large_file_nobody_hashed_is_unknown(keep: Keep, hub: Hub) -> None:
    repo = hub.repo("org/large")
    repo.commit({"config.json": b"{}", "model.bin": random_bytes(2 << 20)})
    snapshot_download(repo.id, cache_dir=keep.hub.directory, endpoint=hub.endpoint)

    (file,) = keep.where(repo.id, "model.bin").files

    assert (file.intact, file.checked_at) == (None, None)


@pytest.mark.parametrize(
    ("repo", "file", "word"),
    [
        ("org/other", None, "not in the keep"),
        ("org/tiny@v9", None, "v9"),
        ("org/tiny", "x.json", "x.json"),
    ],
)
def test_what_is_missing_is_said_exactly(
    filled: Keep, repo: str, file: str | None, word: str
) -> None:
    with pytest.raises(NotFoundError, match=word):
        filled.where(repo, file)
