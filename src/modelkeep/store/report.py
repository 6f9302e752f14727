"""What a verification finds, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from modelkeep.store.digest import Digest


@dataclass(frozen=True, slots=True)
class Copy:
    """A file outside the store that should have a content of `size` bytes, and whose it is."""

    digest: Digest
    path: Path
    size: int
    user: str


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A file whose bytes are not what its name says; `found` is the digest they have.

    `found` is None where the disk does not give the bytes back. `links` counts the names that share
    the inode. `marked` is False where this caller could not note it for others.
    """

    digest: Digest
    path: str
    repos: tuple[str, ...]
    found: Digest | None
    links: int = 1
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Unverifiable:
    """A file that could not be checked, and why; `digest` is None where its name tells none."""

    digest: Digest | None
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Remaining:
    """Files, and bytes of them, that were left for the next run."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Mended:
    """A file that a repair made good: how, and where the bytes came from.

    `rewritten` in its own inode, `replaced` by another file, or `restored` where it was missing.
    """

    digest: Digest
    path: str
    how: str
    source: str


@dataclass(frozen=True, slots=True)
class NotRepaired:
    """Why a repair left something bad; `path` is None for all of a content."""

    digest: Digest
    path: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Outcome of a verification. `bytes` counts what was hashed; `seconds` is wall time.

    `repaired` are good now and were found bad, or missing, before. `unchanged` counts the files
    that a quick verification did not hash because they are as they were when last hashed,
    `remaining` what there was no time for. `interrupted` is True where somebody stopped it.
    `repairs` and `not_repaired` tell what a repair did, file by file.
    """

    files: int
    bytes: int
    seconds: float
    corrupt: tuple[Corrupt, ...]
    missing: tuple[Digest, ...]
    repaired: tuple[Digest, ...]
    unverifiable: tuple[Unverifiable, ...]
    unchanged: int = 0
    remaining: Remaining = Remaining()
    interrupted: bool = False
    repairs: tuple[Mended, ...] = ()
    not_repaired: tuple[NotRepaired, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing that was asked for is known to be bad or missing."""
        return not (self.corrupt or self.missing or self.unverifiable)

    def without_healed(self, healed: Iterable[Corrupt]) -> VerifyReport:
        """Return this with files counted as repaired that were corrupt."""
        good = {bad.path: bad.digest for bad in healed}
        return replace(
            self,
            corrupt=tuple(bad for bad in self.corrupt if bad.path not in good),
            repaired=tuple(dict.fromkeys((*self.repaired, *good.values()))),
        )

    def with_restored(self, digests: Iterable[Digest]) -> VerifyReport:
        """Return this with contents counted as repaired that were missing."""
        back = dict.fromkeys(digests)
        return replace(
            self,
            missing=tuple(digest for digest in self.missing if digest not in back),
            repaired=tuple(dict.fromkeys((*self.repaired, *back))),
        )
