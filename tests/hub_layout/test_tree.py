"""The note of what a commit holds: the stock client's own text, and no way out of a snapshot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from modelkeep.errors import UpstreamError
from modelkeep.hub import tree
from modelkeep.hub.tree import TreeFile
from modelkeep.keep import Keep
from modelkeep.store.digest import hash_bytes
from tests.hub import Hub, Repository
from tests.models import TINY

DIGEST = hash_bytes(b"", "git-sha1")


@pytest.mark.parametrize("xet", [False, True])
def test_ours_is_the_stock_clients_to_the_byte(
    hub: Hub, tiny_repo: Repository, keep_dir: Path, tmp_path: Path, xet: bool
) -> None:
    hub.xet = xet
    stock = tmp_path / "stock"
    snapshot_download(tiny_repo.id, cache_dir=stock, endpoint=hub.endpoint)
    keep = Keep.create(keep_dir)
    keep.pull(tiny_repo.id)
    name = f"models--org--tiny/trees/{tiny_repo.sha}.json"

    ours, theirs = (keep.hub.directory / name).read_bytes(), (stock / name).read_bytes()

    assert json.loads(ours) == json.loads(theirs)
    assert ours == theirs
    loaded = tree.load(theirs)
    assert loaded is not None
    assert tree.dump(loaded) == ours
    assert {file.path: file.size for file in loaded} == {p: len(d) for p, d in TINY.items()}


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "a//b"),
        *("a/", "a\\..\\b", "a\nb", "a\0b", "\x1b[31m", "a\tb", "\ud800"),
    ],
)
def test_a_path_that_does_not_stay_in_the_snapshot_is_refused(path: str) -> None:
    with pytest.raises(UpstreamError):
        TreeFile(path, 0, DIGEST, DIGEST.hex)


@pytest.mark.parametrize("path", ["a", "a/b/c.json", "..a", "a..b/...", "mödel/ü.bin", "a b", "~"])
def test_a_path_that_stays_is_kept(path: str) -> None:
    assert TreeFile(path, 0, DIGEST, DIGEST.hex).path == path


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", '{"format_version": 2, "files": {}}', '{"format_version": 1}'),
        '{"format_version": 1, "files": {"../x": {"size": 1, "blob_id": "' + "a" * 40 + '"}}}',
        '{"format_version": 1, "files": {"x": {"size": 1, "blob_id": "short"}}}',
        '{"format_version": 1, "files": {"x": {"size": "many", "blob_id": "' + "a" * 40 + '"}}}',
        '{"format_version": 1, "files": ["x"]}',
    ],
)
def test_a_damaged_or_foreign_note_says_nothing(text: str) -> None:
    assert tree.load(text.encode()) is None
