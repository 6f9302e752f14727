"""Names of content: what is one, what is not, and how they are computed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.store.digest import Digest, Hasher, hash_bytes, hash_file

SHA = "a" * 64
GIT = "b" * 40


def test_text_and_back() -> None:
    for text in (f"sha256:{SHA}", f"git-sha1:{GIT}"):
        digest = Digest.parse(text)
        assert str(digest) == text
        assert Digest.from_etag(digest.etag) == digest


@pytest.mark.parametrize(
    "text",
    [
        *("", "sha256", "sha256:", f"sha256:{SHA[1:]}", f"sha256:{SHA.upper()}", f"sha256:{GIT}"),
        *(f"git-sha1:{SHA}", f"md5:{'a' * 32}", f"sha256:{SHA}\n", f" sha256:{SHA}", SHA),
        f"sha256:../{'a' * 61}",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        Digest.parse(text)


@pytest.mark.parametrize("etag", ["", "W/abc", SHA + "0", GIT.upper(), "../" + "a" * 61])
def test_an_etag_that_is_no_checksum_names_nothing(etag: str) -> None:
    assert Digest.from_etag(etag) is None


def test_git_names_content_by_size_and_bytes() -> None:
    # `git hash-object` of an empty file, and of "hello\n"
    assert hash_bytes(b"", "git-sha1").hex == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert hash_bytes(b"hello\n", "git-sha1").hex == "ce013625030ba8dba906f756967f9e9ca394464a"


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_pieces_hash_as_the_whole(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    hasher = Hasher("sha256", len(whole))
    for piece in pieces:
        hasher.update(piece)
    assert hasher.digest().hex == hashlib.sha256(whole).hexdigest()


def test_a_file_by_path_or_descriptor_tells_its_progress(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3_000_000))
    told: list[int] = []

    found, size = hash_file(path, "git-sha1", progress=told.append)
    with path.open("rb") as file:
        assert hash_file(file.fileno(), "git-sha1") == (found, size)

    assert (found, size) == (hash_bytes(bytes(3_000_000), "git-sha1"), 3_000_000)
    assert sum(told) == size


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="not a digest algorithm"):
        Hasher("md5", 0)
