"""Content names.

The Hub names every file by its content, and the stock cache keeps that name as the blob's file
name (its etag): sha256 for LFS and Xet files, git's blob id for the small files kept in git. Both
are checksums, so whoever has a name can check the bytes without asking anybody.
"""

from __future__ import annotations

import hashlib
import os
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelkeep.errors import CorruptError
from modelkeep.fs.oserrors import explained

SHA256 = "sha256"
GIT_SHA1 = "git-sha1"

_HEX_LENGTH = {SHA256: 64, GIT_SHA1: 40}
_HEX_DIGITS = frozenset(string.hexdigits.lower())

# Large enough that hashing runs near memory speed, small enough to stay in a core's cache.
_BLOCK = 1 << 20


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and _HEX_DIGITS.issuperset(text)


def is_etag(name: str) -> bool:
    """Tell whether a blob's name in a stock cache is a checksum; for those who ask of thousands."""
    return len(name) in _HEX_LENGTH.values() and _HEX_DIGITS.issuperset(name)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The name of some content: an algorithm and its value in lower-case hex."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        if not _is_hex(self.hex, _HEX_LENGTH.get(self.algorithm, -1)):
            raise ValueError(f"not a digest: {self.algorithm}:{self.hex}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<hex>` or `git-sha1:<hex>`; ValueError for anything else."""
        algorithm, _, value = text.partition(":")
        return cls(algorithm, value)

    @classmethod
    def from_etag(cls, etag: str) -> Digest | None:
        """Read a blob name of the stock cache; None where the name is not a checksum."""
        for algorithm, length in _HEX_LENGTH.items():
            if _is_hex(etag, length):
                return cls(algorithm, etag)
        return None

    @property
    def etag(self) -> str:
        """The name of this content in a stock cache."""
        return self.hex

    @property
    def file_name(self) -> str:
        """`<algorithm>-<hex>`: the name of side files about this content."""
        return f"{self.algorithm}-{self.hex}"

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class _Hash(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class Hasher:
    """Computes the digest of a stream whose size in bytes is known beforehand.

    git puts the size before the data, so it cannot be learned on the way.
    """

    def __init__(self, algorithm: str, size: int) -> None:
        self.algorithm = algorithm
        self._hash: _Hash
        if algorithm == GIT_SHA1:
            self._hash = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        elif algorithm == SHA256:
            self._hash = hashlib.sha256()
        else:
            raise ValueError(f"not a digest algorithm: {algorithm}")

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add the next bytes. Large buffers are hashed without holding the GIL."""
        self._hash.update(data)

    def digest(self) -> Digest:
        """Return the digest of everything added so far."""
        return Digest(self.algorithm, self._hash.hexdigest())


def hash_bytes(data: bytes, algorithm: str) -> Digest:
    """Return the digest of a small piece of data."""
    hasher = Hasher(algorithm, len(data))
    hasher.update(data)
    return hasher.digest()


def hash_file(
    file: str | os.PathLike[str] | int,
    algorithm: str,
    *,
    progress: Callable[[int], None] | None = None,
) -> tuple[Digest, int]:
    """Return the digest and the size in bytes of a file, given by path or open descriptor.

    `progress` is called with the number of bytes of each block. A file that shrinks or grows while
    it is read yields the digest of what was read, which then fits no size promised elsewhere.
    """
    descriptor = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        hasher = Hasher(algorithm, os.fstat(descriptor).st_size)
        buffer = memoryview(bytearray(_BLOCK))
        offset = 0
        while count := os.preadv(descriptor, [buffer], offset):
            hasher.update(buffer[:count])
            offset += count
            if progress is not None:
                progress(count)
        return hasher.digest(), offset
    finally:
        if not isinstance(file, int):
            os.close(descriptor)


def require_digest(
    path: Path,
    digest: Digest,
    *,
    hint: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Hash a file; CorruptError with the hint unless its bytes are what the name says."""
    with explained("hashing", path):
        got, size = hash_file(path, digest.algorithm, progress=progress)
    if got != digest:
        raise CorruptError(
            f"`{path}` does not have the bytes its name promises"
            f" (expected {digest}, got {got}, {size} bytes)",
            expected=str(digest),
            got=str(got),
            hint=hint,
            path=path,
        )
