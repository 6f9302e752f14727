"""Caches as stock clients of several ages leave them, written by hand: nothing is fetched."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelkeep.hub.tree import TreeFile, dump
from modelkeep.store.digest import GIT_SHA1, SHA256, Digest, hash_bytes

LARGE = 1 << 20


def etag(data: bytes) -> str:
    """The name the Hub gives a file: in LFS from 1 MiB on, in git below."""
    return digest(data).hex


def digest(data: bytes) -> Digest:
    return hash_bytes(data, SHA256 if len(data) >= LARGE else GIT_SHA1)


@dataclass(frozen=True)
class Revision:
    """A repo at a commit and the files it has there."""

    repo: str
    files: Mapping[str, bytes]
    ref: str | None = "main"

    @property
    def folder(self) -> str:
        return "models--" + self.repo.replace("/", "--")

    @property
    def commit(self) -> str:
        text = self.repo + "".join(f"{path}{etag(data)}" for path, data in self.files.items())
        return hashlib.sha1(text.encode()).hexdigest()


def write(cache: Path, *revisions: Revision, tree: bool = True, shared: bool = False) -> Path:
    """Add revisions to a cache. `shared`: large blobs lie in the newer clients' own store."""
    for revision in revisions:
        folder = cache / revision.folder
        for name in ("blobs", "refs", f"snapshots/{revision.commit}"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for path, data in revision.files.items():
            blob = folder / "blobs" / etag(data)
            if not blob.exists():
                _blob(cache, blob, data, shared=shared)
            pointer = folder / "snapshots" / revision.commit / path
            pointer.parent.mkdir(parents=True, exist_ok=True)
            pointer.symlink_to("../" * (path.count("/") + 2) + f"blobs/{blob.name}")
        if revision.ref:
            (folder / "refs" / revision.ref).write_text(revision.commit)
        if tree:
            (folder / "trees").mkdir(exist_ok=True)
            note = folder / "trees" / f"{revision.commit}.json"
            note.write_bytes(
                dump(
                    TreeFile(path, len(data), digest(data), etag(data)[:40])
                    for path, data in revision.files.items()
                )
            )
            note.chmod(0o600)
    return cache


def _blob(cache: Path, blob: Path, data: bytes, *, shared: bool) -> None:
    if shared and len(data) >= LARGE:
        name = hashlib.blake2s(data).hexdigest()
        payload = cache / "blobs" / name[:2] / name
        payload.parent.mkdir(parents=True, exist_ok=True)
        (cache / "blobs/.huggingface-shared-blobs").write_text("1\n")
        payload.write_bytes(data)
        payload.chmod(0o444)
        payload.with_suffix(".refs").write_text(f"{blob.relative_to(cache)}\n")
        blob.symlink_to(os.path.relpath(payload, blob.parent))
    else:
        blob.write_bytes(data)
    os.utime(blob, ns=(1_700_000_000_123_456_789,) * 2)


@dataclass(frozen=True)
class Picture:
    """All that can be seen of a folder: what each path is, and which names share an inode."""

    paths: Mapping[str, tuple[object, ...]]
    groups: frozenset[frozenset[str]]


def picture(top: Path) -> Picture:
    """Look at a folder: kinds, modes, times, bytes, links; nothing that reading changes."""
    paths: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, set[str]] = {}
    for base, folders, names in os.walk(top):
        for path in [Path(base), *(Path(base, name) for name in [*folders, *names])]:
            status, shown = path.lstat(), path.relative_to(top).as_posix()
            facts: tuple[object, ...] = (stat.S_IFMT(status.st_mode),)
            if path.is_symlink():
                facts += (path.readlink(),)
            else:
                facts += (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
                facts += (status.st_mtime_ns,)
                if path.is_file():
                    facts += (hashlib.sha256(path.read_bytes()).hexdigest(),)
                    inodes.setdefault(status.st_ino, set()).add(shown)
            paths[shown] = facts
    return Picture(paths, frozenset(frozenset(names) for names in inodes.values()))


def disk_bytes(*tops: Path) -> int:
    """What the files below some folders take on the disk, each inode once."""
    inodes = {}
    for top in tops:
        for base, _, names in os.walk(top):
            for name in names:
                status = Path(base, name).lstat()
                if stat.S_ISREG(status.st_mode):
                    inodes[status.st_ino] = status.st_blocks * 512
    return sum(inodes.values())
