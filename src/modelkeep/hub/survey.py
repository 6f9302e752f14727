"""Looks at caches that are not the keep's: what they hold, and what of it exists twice.

Everything is told from names: in a stock cache the name of a content is its checksum. No file is
opened but the notes of commits whose files are no links. Links are not followed from folder to
folder, each inode counts once, and what does not answer is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelkeep.fs import accounts
from modelkeep.fs.answering import Patience, ask
from modelkeep.fs.folders import entries, walk
from modelkeep.fs.links import COPY_BELOW
from modelkeep.fs.reading import read_small
from modelkeep.hub import tree
from modelkeep.hub.repo import Repo, is_commit
from modelkeep.hub.scan import is_finished
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store

Inode = tuple[int, int]


@dataclass(frozen=True, slots=True)
class CacheSurvey:
    """A stock cache. Sizes are bytes of content; each inode counts once.

    Of `bytes`, `bytes_duplicate` is what the keep, another cache or another repo of this one holds
    in a file of its own, so that sharing would give it back, which small files never are;
    `bytes_shared` shares its inode with one of those already. Of two caches with the same content,
    the larger one counts as its owner.
    `needs_root` is True where this caller cannot read all of it; the numbers then cover the rest.
    `shares` tells that adopting it has a part in what would be given back.
    """

    dir: Path
    owner: str
    uid: int
    repos: int
    bytes: int
    bytes_duplicate: int
    needs_root: bool
    bytes_shared: int
    found_by: str
    shares: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """A path that could not be looked at, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Survey:
    """The caches of a machine, those with the most to give back first. `bytes` counts all of them,
    each inode once."""

    caches: tuple[CacheSurvey, ...]
    skipped: tuple[Skipped, ...]
    bytes: int


def survey(
    places: Mapping[str, str],
    store: Store | None = None,
    *,
    besides: Path | None = None,
    patience: Patience | None = None,
) -> Survey:
    """Look at the caches among some paths, given with what led to each; `besides` is left out.

    Those without a repo, and hubs of keeps, are left out as well.
    """
    met = {_inode(os.fspath(besides))} if besides else set()
    found, skipped = [], []
    for path, look in ask(list(places), _look, patience or Patience()):
        if look is None:
            skipped.append(Skipped(Path(path), "the file system does not answer"))
        elif look.refused:
            skipped.append(Skipped(Path(path), "permission denied"))
        elif look.inode is not None and look.inode not in met:
            met.add(look.inode)
            contents = _read(look, places[path])
            if contents.repos or contents.closed:
                found.append(contents)
    caches = _compare(found, store)
    return Survey(caches, tuple(skipped), _total(found))


@dataclass(frozen=True, slots=True)
class _Look:
    """What is at a path: the inode of a folder, None for no cache; `refused`: nobody can tell."""

    path: str
    inode: Inode | None = None
    uid: int = 0
    refused: bool = False


def _look(path: str) -> _Look:
    try:
        status = os.stat(path)
        real = os.path.realpath(path)
        try:
            if not any(Repo.from_folder(entry.name) for entry in entries(path)):
                return _Look(real)
            if os.path.exists(os.path.join(os.path.dirname(real), "store/STORE.json")):
                return _Look(real)  # the hub of a keep
        except PermissionError:
            pass  # there is something; its owner and root can tell what
        return _Look(real, (status.st_dev, status.st_ino), status.st_uid)
    except PermissionError:
        return _Look(path, refused=True)
    except OSError:
        return _Look(path)


@dataclass(frozen=True, slots=True)
class _Contents:
    """A cache as read: name and size of each content by its inode. `closed`: there is more."""

    look: _Look
    found_by: str
    repos: int
    files: dict[Inode, tuple[str, int]]
    closed: bool


def _read(look: _Look, found_by: str) -> _Contents:
    files: dict[Inode, tuple[str, int]] = {}
    repos, closed = 0, False
    try:
        folders = [entry.path for entry in entries(look.path) if Repo.from_folder(entry.name)]
    except OSError:
        folders, closed = [], True
    for folder in folders:
        try:
            commits = _commits(folder)
            repos += bool(commits)
            files.update(_blobs(folder))
            for commit in commits:
                files.update(_plain(folder, commit))
        except OSError:
            closed = True
    return _Contents(look, found_by, repos, files, closed)


def _commits(folder: str) -> list[str]:
    return [entry.name for entry in entries(f"{folder}/snapshots") if is_commit(entry.name)]


def _blobs(folder: str) -> Iterator[tuple[Inode, tuple[str, int]]]:
    for entry in entries(f"{folder}/blobs"):
        if is_finished(entry.name) and (status := _status(entry)):
            yield (status.st_dev, status.st_ino), (entry.name, status.st_size)


def _plain(folder: str, commit: str) -> Iterator[tuple[Inode, tuple[str, int]]]:
    """Yield the files of a snapshot that are no links, as clients without links leave them."""
    _, files = walk(f"{folder}/snapshots/{commit}")
    notes = _notes(f"{folder}/trees/{commit}.json") if files else {}
    for path, entry in files.items():
        if status := _status(entry):
            name, size = notes.get(path, ("", 0))
            known = name if size == status.st_size else ""
            yield (status.st_dev, status.st_ino), (known, status.st_size)


def _compare(found: list[_Contents], store: Store | None) -> tuple[CacheSurvey, ...]:
    """Count what is there twice, the largest cache before the others."""
    owners: dict[tuple[str, int], dict[Inode, int]] = {}
    sizes = [sum(size for _, size in contents.files.values()) for contents in found]
    order = sorted(range(len(found)), key=lambda index: -sizes[index])
    duplicate, shared = [0] * len(found), [0] * len(found)
    sharing = set[int]()
    for index in order:
        for inode, (name, size) in found[index].files.items():
            if (digest := Digest.from_etag(name)) is None:
                continue  # its name is no checksum: nothing is known of it
            holders = owners.get((name, size))
            if holders is None:
                stored = _inode(os.fspath(store.path(digest))) if store else None
                holders = owners[name, size] = {stored: -1} if stored else {}
            if inode in holders:
                shared[index] += size
            elif holders and size >= COPY_BELOW:  # smaller ones stay copies
                duplicate[index] += size
                sharing |= {index, *holders.values()}
            holders.setdefault(inode, index)
    surveys = [
        CacheSurvey(
            dir=Path(contents.look.path),
            owner=accounts.user(contents.look.uid),
            uid=contents.look.uid,
            repos=contents.repos,
            bytes=sizes[index],
            bytes_duplicate=duplicate[index],
            needs_root=contents.closed,
            bytes_shared=shared[index],
            found_by=contents.found_by,
            shares=index in sharing,
        )
        for index, contents in enumerate(found)
    ]
    return tuple(sorted(surveys, key=lambda cache: (-cache.bytes_duplicate, -cache.bytes)))


def _total(found: list[_Contents]) -> int:
    files = {inode: file for contents in found for inode, file in contents.files.items()}
    return sum(size for _, size in files.values())


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except PermissionError:
        raise
    except OSError:
        return None  # a link to nothing, or a removal was quicker


def _notes(path: str) -> dict[str, tuple[str, int]]:
    try:
        return tree.contents(read_small(path)) or {}
    except OSError:
        return {}


def _inode(path: str) -> Inode | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
