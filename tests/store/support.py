"""A store, and content to put into it."""

from __future__ import annotations

import os
from pathlib import Path

from modelkeep.store.digest import Digest, hash_bytes
from modelkeep.store.meta import Source
from modelkeep.store.store import Store

DATA = b"weights" * 1000
SOURCE = Source("org/model", "c" * 40, "model.safetensors", "https://hub.example")


def part(store: Store, data: bytes, name: str = "part") -> Path:
    path = store.layout.tmp / name
    path.write_bytes(data)
    return path


def put(store: Store, data: bytes, algorithm: str = "sha256") -> Digest:
    """Publish content under its own name."""
    digest = hash_bytes(data, algorithm)
    store.publish(part(store, data, f"part-{digest.hex}"), digest, source=SOURCE)
    return digest


def flip(path: Path, bit: int = 0) -> None:
    """Change one bit in place and restore the times, as a failing disk would."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(data)
    path.chmod(0o444)

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
