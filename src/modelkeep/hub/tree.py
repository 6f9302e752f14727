"""The files of one commit: what a repo should hold, and the note of it kept in the cache.

The stock client keeps the full listing of a commit as `trees/<commit>.json`; only with it can a
partial snapshot be told from a complete one without a network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from modelkeep.errors import UpstreamError
from modelkeep.store.digest import GIT_SHA1, SHA256, Digest

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of a commit: its path in the repo, its size in bytes and the name of its content.

    `blob_id` is git's id of the entry; for an LFS file that is the id of the pointer, not of the
    content. `xet_hash` is set for files that the Hub keeps in Xet.
    """

    path: str
    size: int
    digest: Digest
    blob_id: str
    xet_hash: str | None = None

    def __post_init__(self) -> None:
        if not is_path(self.path):
            raise UpstreamError(
                f"the listing holds a path that would leave the snapshot: {self.path!r}",
                hint="do not trust this repo; report it to its owner",
            )


def is_path(text: str) -> bool:
    """Tell whether a repo may name a file so: a path that stays where it is put."""
    return (
        not any(part in ("", ".", "..") for part in text.split("/"))
        and not any(ord(char) < 32 or char == "\\" for char in text)
        and not any("\ud800" <= char <= "\udfff" for char in text)  # no file is named so
    )


def dump(files: Iterable[TreeFile]) -> bytes:
    """Return the text of `trees/<commit>.json`, as huggingface_hub 1.31 to 2.4 have it."""
    entries: dict[str, dict[str, object]] = {}
    for file in sorted(files, key=lambda file: file.path):
        entry: dict[str, object] = {"size": file.size, "blob_id": file.blob_id}
        if file.digest.algorithm == SHA256:
            entry |= {"lfs_sha256": file.digest.hex, "lfs_size": file.size}
        if file.xet_hash:
            entry["xet_hash"] = file.xet_hash
        entries[file.path] = entry
    return json.dumps({"format_version": _FORMAT, "files": entries}, indent=1).encode()


def load(text: bytes) -> tuple[TreeFile, ...] | None:
    """Read `trees/<commit>.json`; None where it is of another version or damaged."""
    try:
        document = json.loads(text)
        if document["format_version"] != _FORMAT:
            return None
        return tuple(_entry(path, fields) for path, fields in document["files"].items())
    except (ValueError, KeyError, TypeError, AttributeError, UpstreamError):
        return None


def is_damaged(text: bytes) -> bool:
    """Tell whether a note cannot be read, though not because it is of another version."""
    if load(text) is not None:
        return False
    try:
        return bool(json.loads(text)["format_version"] == _FORMAT)
    except (ValueError, KeyError, TypeError):
        return True


def contents(text: bytes) -> dict[str, tuple[str, int]] | None:
    """Return the blob name and the size in bytes at each path, as `load` would, in less time.

    Paths and names are not checked: nothing may be written where they point.
    """
    try:
        document = json.loads(text)
        if document["format_version"] != _FORMAT:
            return None
        return {
            path: (
                fields.get("lfs_sha256") or fields["blob_id"],
                int(fields.get("lfs_size") or fields["size"]),
            )
            for path, fields in document["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _entry(path: str, fields: dict[str, object]) -> TreeFile:
    blob_id = str(fields["blob_id"])
    sha256 = fields.get("lfs_sha256")
    digest = Digest(SHA256, str(sha256)) if sha256 else Digest(GIT_SHA1, blob_id)
    size = int(str(fields.get("lfs_size") or fields["size"]))
    xet_hash = fields.get("xet_hash")
    return TreeFile(path, size, digest, blob_id, str(xet_hash) if xet_hash else None)
