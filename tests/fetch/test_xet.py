"""Files that come by the Hub client's Xet library, and those that turn out not to."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.hub.repo import Repo, RepoType
from modelkeep.hub.tree import TreeFile
from modelkeep.hub.xet import XetUse, fetch_by_client, prefers_xet
from modelkeep.store.digest import Digest, hash_bytes
from tests.fetch.support import Told, noise
from tests.hub import Hub

DATA = noise(3_000_000)
FILE = TreeFile("model.safetensors", len(DATA), hash_bytes(DATA, "sha256"), "0" * 40, "f" * 64)
HUGE = TreeFile("huge.safetensors", 60 * 1000**3, FILE.digest, "0" * 40, "f" * 64)


def test_only_files_the_hub_does_not_serve_otherwise_come_by_xet() -> None:
    assert prefers_xet(HUGE, "https://huggingface.co")
    assert not prefers_xet(HUGE, "https://mirror.example")
    assert not prefers_xet(HUGE, "https://huggingface.co", XetUse.NEVER)
    assert not prefers_xet(FILE, "https://huggingface.co")
    assert prefers_xet(FILE, "http://127.0.0.1:1", XetUse.ALWAYS)


def _fetch(hub: Hub, commit: str, root: Path, file: TreeFile = FILE) -> tuple[bool, Told]:
    told = Told()
    root.mkdir()

    def deliver(item: TreeFile, path: Path) -> None:
        assert not path.is_symlink()
        path.rename(root / item.digest.file_name)

    done = fetch_by_client(
        file,
        Repo(RepoType.MODEL, "org/model"),
        commit,
        endpoint=hub.endpoint,
        token=None,
        scratch=root,
        locks_in=root,
        progress=told,
        have=lambda digest: (root / digest.file_name).exists(),
        deliver=deliver,
    )
    return done, told


@pytest.mark.real
def test_a_file_comes_by_xet_as_a_plain_verified_file(hub: Hub, tmp_path: Path) -> None:
    hub.xet = True
    repo = hub.repo("org/model")
    commit = repo.commit({"model.safetensors": DATA})
    done, told = _fetch(hub, commit, tmp_path / "keep")
    assert done
    assert (tmp_path / "keep" / FILE.digest.file_name).read_bytes() == DATA
    assert told.arrived == len(DATA)
    assert not list((tmp_path / "keep").glob("xet-*"))
    assert hub.gets("model.safetensors") == []


@pytest.mark.real
def test_a_mirror_without_the_token_route_is_read_in_ranges(hub: Hub, tmp_path: Path) -> None:
    hub.xet = True
    repo = hub.repo("org/model")
    commit = repo.commit({"model.safetensors": DATA})
    hub.xet_tokens = False
    done, told = _fetch(hub, commit, tmp_path / "keep")
    assert not done
    assert "does not come by Xet" in told.notes[0]
    assert not list((tmp_path / "keep").glob("xet-*"))


@pytest.mark.real
def test_what_comes_by_xet_is_hashed_too(hub: Hub, tmp_path: Path) -> None:
    hub.xet = True
    repo = hub.repo("org/model")
    commit = repo.commit({"model.safetensors": DATA})
    other = TreeFile(FILE.path, FILE.size, Digest("sha256", "0" * 64), "0" * 40, "f" * 64)
    done, told = _fetch(hub, commit, tmp_path / "keep", other)
    assert not done
    assert "damaged" in told.notes[0]
