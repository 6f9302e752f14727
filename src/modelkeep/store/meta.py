"""What is known about a blob besides its bytes: one JSON side file each.

A side file is written before the blob's name exists, so a named blob always has one, and replaced
as a whole, so readers see the old text or the new. Two writers at once may lose one *source* of
two; a missing source makes a blob harder to evict, never easier.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from modelkeep.fs.durable import write_bytes
from modelkeep.fs.reading import read_small
from modelkeep.fs.sameness import identity


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Where a blob came from: a file of a repo at a commit, and the endpoint that had it.

    `upstream` is None for what was added from a local folder: it cannot be fetched again.
    """

    repo: str
    commit: str
    path: str
    upstream: str | None

    def to_json(self) -> dict[str, str | None]:
        """Return the JSON object written to disk."""
        return {
            "repo": self.repo,
            "commit": self.commit,
            "path": self.path,
            "upstream": self.upstream,
        }


@dataclass(frozen=True, slots=True)
class Meta:
    """A blob's side file. Times are ISO 8601 UTC; `mtime_ns` and `inode` are those last hashed.

    `verified_at` is None where they were never found good, `bad_since` is set once they were found
    not to match their name.
    """

    size: int
    mtime_ns: int
    inode: int
    ingested_at: str
    verified_at: str | None
    sources: tuple[Source, ...] = ()
    xet_hash: str | None = None
    bad_since: str | None = None

    @classmethod
    def of(cls, status: os.stat_result, *, now: str, source: Source | None = None) -> Meta:
        """Describe a file that was hashed just now."""
        return cls(
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=status.st_ino,
            ingested_at=now,
            verified_at=now,
            sources=(source,) if source else (),
        )

    @classmethod
    def of_bad(cls, status: os.stat_result, *, now: str) -> Meta:
        """Describe a file of which nothing is known but that its bytes are bad."""
        return replace(cls.of(status, now=now), verified_at=None, bad_since=now)

    def describes(self, status: os.stat_result) -> bool:
        """Tell whether the file is still the one that was hashed."""
        return (self.inode, self.size, self.mtime_ns) == identity(status)

    def with_sources(self, sources: Iterable[Source]) -> Meta:
        """Return this with more sources; itself when none is new."""
        merged = tuple(sorted({*self.sources, *sources}, key=_source_order))
        return self if merged == self.sources else replace(self, sources=merged)

    def hashed(self, status: os.stat_result, *, now: str) -> Meta:
        """Return this after the bytes were found good."""
        return replace(
            self,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=status.st_ino,
            verified_at=now,
            bad_since=None,
        )


def _source_order(source: Source) -> tuple[str, str, str, str]:
    return (source.repo, source.commit, source.path, source.upstream or "")


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def read(path: str | Path) -> Meta | None:
    """Read a side file; None where there is none or it cannot be understood."""
    try:
        fields = json.loads(read_small(path))
        return Meta(
            size=int(fields["size"]),
            mtime_ns=int(fields["mtime_ns"]),
            inode=int(fields["inode"]),
            ingested_at=str(fields["ingested_at"]),
            verified_at=_text_or_none(fields["verified_at"]),
            sources=tuple(
                Source(
                    repo=str(source["repo"]),
                    commit=str(source["commit"]),
                    path=str(source["path"]),
                    upstream=source.get("upstream"),
                )
                for source in fields.get("sources", ())
            ),
            xet_hash=fields.get("xet_hash"),
            bad_since=fields.get("bad_since"),
        )
    except (OSError, ValueError, KeyError, TypeError):
        # An unreadable side file costs a hash, no more: the blob's name is its checksum.
        return None


def is_marked(path: str | Path) -> bool:
    """Tell whether a side file says that its blob is bad; for those who ask about thousands."""
    try:
        return b'"bad_since"' in read_small(path)
    except OSError:
        return False


def write(path: Path, meta: Meta) -> None:
    """Replace a side file durably."""
    fields: dict[str, object] = {
        "size": meta.size,
        "mtime_ns": meta.mtime_ns,
        "inode": meta.inode,
        "ingested_at": meta.ingested_at,
        "verified_at": meta.verified_at,
        "sources": [source.to_json() for source in meta.sources],
    }
    if meta.xet_hash:
        fields["xet_hash"] = meta.xet_hash
    if meta.bad_since:
        fields["bad_since"] = meta.bad_since
    write_bytes(path, json.dumps(fields, indent=1).encode() + b"\n")
