"""Finds what stock clients put into the keep's hub and nobody has hashed yet.

A blob there is *settled* when the hub's root has a reference to it and it is sealed, as all is that
was placed from the store, or is the store's own inode. What clients bring is unknown to the root,
or writable, or a link into the store of blobs that newer clients have of their own. A large file
that is the last of its content, since a client took the store's own away, is unsettled again.

Looks at names, and once at each blob; hashes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelkeep.fs import durable, folders
from modelkeep.fs.links import COPY_BELOW
from modelkeep.hub import scan
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A file of the hub that awaits settling, and its size in bytes.

    `path` is where it stands, `content` where its bytes lie: elsewhere for a link. `digest` is what
    it should hold, and `refusal` why it cannot be settled. `pointer` is the commit and the path in
    the repo of a file that stands in a snapshot itself.
    """

    path: Path
    content: Path
    size: int
    digest: Digest | None
    refusal: str | None
    pointer: tuple[str, str] | None = None


def in_blobs(
    store: Store, hub: HubCache, repo: Repo, referenced: frozenset[str]
) -> Iterator[Unsettled]:
    """Yield the unsettled blobs of a repo; `referenced` are the paths that the hub's root knows.

    A link to nothing is passed over: it holds nothing to settle.
    """
    for entry in folders.entries(f"{hub.directory}/{repo.folder}/blobs"):
        name = entry.name
        try:
            status = entry.stat()
        except OSError:
            continue
        known = f"{repo.folder}/blobs/{name}" in referenced
        sealed = durable.is_sealed(status) and not entry.is_symlink()
        if known and sealed and not _is_last(store, name, status):
            continue
        if not scan.is_finished(name) or not stat.S_ISREG(status.st_mode):
            continue
        digest = Digest.from_etag(name)
        stored = _is_stored(store, digest, status)
        if known and stored:
            continue
        path = content = Path(entry.path)
        why = _refusal(hub, repo)
        if digest is None:
            why = "its name is no checksum"
        elif entry.is_symlink() and not stored:
            content = Path(os.path.normpath(path.parent / path.readlink()))
            if not _is_payload(hub, content):
                why = "it is a link that leads out of the cache"
        yield Unsettled(path, content, status.st_size, digest, why)


def in_snapshots(hub: HubCache, repo: Repo) -> Iterator[Unsettled]:
    """Yield the files that stand in snapshots themselves, where a client made no links."""
    for commit in hub.commits(repo):
        _, files = folders.walk(f"{hub.snapshot(repo, commit)}")
        if not files:
            continue
        noted = {file.path: file.digest for file in hub.tree(repo, commit) or ()}
        for name, entry in files.items():
            digest = noted.get(name)
            why = _refusal(hub, repo) or (None if digest else "nobody noted what it should hold")
            path = Path(entry.path)
            try:
                size = entry.stat().st_size
            except OSError:
                continue  # removed meanwhile
            yield Unsettled(path, path, size, digest, why, (commit, name))


def _refusal(hub: HubCache, repo: Repo) -> str | None:
    """Tell why nothing of a repo can be settled: what its folder leads to is not the keep's."""
    folder = hub.folder(repo)
    linked = any((folder / name).is_symlink() for name in ("", "blobs", "snapshots"))
    return "its folder is a link to another place" if linked else None


def _is_last(store: Store, name: str, status: os.stat_result) -> bool:
    """Tell whether the store has lost what a sealed file once shared with it."""
    if status.st_nlink > 1 or status.st_size < COPY_BELOW:
        return False
    digest = Digest.from_etag(name)
    return digest is not None and not store.has(digest)


def _is_stored(store: Store, digest: Digest | None, status: os.stat_result) -> bool:
    try:
        return digest is not None and os.path.samestat(status, store.path(digest).stat())
    except OSError:
        return False


def _is_payload(hub: HubCache, path: Path) -> bool:
    """Tell whether a path lies in the store that newer clients keep beside their repos."""
    shared = hub.directory / "blobs"
    if path.parent.parent != shared or any(part.is_symlink() for part in (shared, path.parent)):
        return False
    return stat.S_ISREG(path.lstat().st_mode)
