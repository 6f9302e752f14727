"""The bytes of one file and the names that git, LFS and the Hub give them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

LFS_PATTERNS = (
    *("*.7z", "*.arrow", "*.bin", "*.bin.*", "*.bz2", "*.ckpt", "*.ftz", "*.gguf", "*.gz", "*.h5"),
    *("*.joblib", "*.lfs.*", "*.mlmodel", "*.model", "*.msgpack", "*.npy", "*.npz", "*.onnx"),
    *("*.ot", "*.parquet", "*.pb", "*.pickle", "*.pkl", "*.pt", "*.pth", "*.rar", "*.safetensors"),
    *("*.tar", "*.tar.*", "*.tflite", "*.tgz", "*.wasm", "*.xz", "*.zip", "*.zst", "*tfevents*"),
)
LFS_FROM = 10 * 1024 * 1024
_CHUNK = 1 << 20

_known: dict[tuple[int, int, int, int], str] = {}
"""sha256 by (device, inode, size, mtime): a 1 GiB file is read once in a test session."""


class Blob:
    """Bytes in memory, or a file that is never read into memory.

    A known `sha256` spares reading a large file; it is believed. The file must not change.
    """

    def __init__(self, source: bytes | Path, *, sha256: str | None = None) -> None:
        self.source = source
        self.size = len(source) if isinstance(source, bytes) else source.stat().st_size
        self._sha256 = sha256

    @cached_property
    def sha256(self) -> str:
        if self._sha256 is not None:
            return self._sha256
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        status = self.source.stat()
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if key not in _known:
            with self.source.open("rb") as file:
                _known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return _known[key]

    @cached_property
    def git_oid(self) -> str:
        """The id of git's blob object with these bytes."""
        digest = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        if isinstance(self.source, bytes):
            digest.update(self.source)
        else:
            with self.source.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()

    def read(self, start: int, length: int) -> bytes:
        if isinstance(self.source, bytes):
            return self.source[start : start + length]
        fd = os.open(self.source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, length, start)
        finally:
            os.close(fd)


@dataclass(frozen=True)
class File:
    """One entry of a commit's tree."""

    path: str
    blob: Blob
    lfs: bool

    @property
    def size(self) -> int:
        return self.blob.size

    @property
    def etag(self) -> str:
        """What the Hub names the content by: sha256 of LFS files, git's id of others."""
        return self.blob.sha256 if self.lfs else self.blob.git_oid

    @cached_property
    def pointer(self) -> bytes:
        """What git stores in place of an LFS file."""
        return (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{self.blob.sha256}\nsize {self.size}\n"
        ).encode()

    @cached_property
    def oid(self) -> str:
        """The id of git's blob object: of the pointer, for LFS files."""
        return Blob(self.pointer).git_oid if self.lfs else self.blob.git_oid


def is_lfs(path: str, size: int) -> bool:
    """Whether the Hub would store this file outside git, by its default `.gitattributes`."""
    name = path.rsplit("/", 1)[-1]
    return size >= LFS_FROM or any(fnmatchcase(name, pattern) for pattern in LFS_PATTERNS)
