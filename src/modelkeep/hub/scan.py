"""Reads a stock cache's shape from disk with as few system calls as that takes.

A listing of a thousand repos waits for nothing else, so sizes come from the notes of what commits
hold, `trees/`, and only what no note names is looked at by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelkeep.hub import tree
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo, is_commit

# Beside blobs a folder may hold what clients and we are still writing there.
_UNFINISHED = (".incomplete",)


@dataclass(frozen=True, slots=True)
class ScannedRevision:
    """A snapshot as it stands on disk.

    `files` gives the size in bytes of every file by its path; None where its content is gone.
    `blobs` are the names of the contents it uses, `plain` the bytes of files that are no links.
    `complete` is None where nobody noted what the commit should hold.
    """

    commit: str
    files: dict[str, int | None]
    blobs: frozenset[str]
    plain: int
    complete: bool | None


@dataclass(frozen=True, slots=True)
class ScannedRepo:
    """A repo as it lies on disk: refs, revisions, and the sizes of all its blobs by their names."""

    repo: Repo
    refs: dict[str, str]
    revisions: tuple[ScannedRevision, ...]
    blobs: dict[str, int]


def scan(hub: HubCache, repo: Repo) -> ScannedRepo:
    """Read one repo's folder. A blob is taken to have the size that a commit's listing gives it."""
    folder = os.fspath(hub.folder(repo))
    entries = {
        entry.name: entry
        for entry in _entries(f"{folder}/blobs")
        if not entry.name.startswith(".") and not entry.name.endswith(_UNFINISHED)
    }
    commits = sorted(
        entry.name for entry in _entries(f"{folder}/snapshots") if is_commit(entry.name)
    )
    notes = {commit: _note(f"{folder}/trees/{commit}.json") for commit in commits}
    noted: dict[str, int] = {}
    for note in notes.values():
        noted.update(note.values() if note else ())
    blobs = {}
    for name, entry in entries.items():
        # A link is looked at in any case: its payload may be gone.
        size = _size(entry) if entry.is_symlink() or name not in noted else noted[name]
        if size is not None:
            blobs[name] = size
    revisions = [
        _revision(f"{folder}/snapshots/{commit}", commit, notes[commit], blobs)
        for commit in commits
    ]
    return ScannedRepo(repo, _refs(f"{folder}/refs"), tuple(revisions), blobs)


def _refs(top: str) -> dict[str, str]:
    refs = {name: _read(entry.path).decode("ascii", "replace") for name, entry in _walk(top)}
    return {name: commit for name in sorted(refs) if is_commit(commit := refs[name].strip())}


def _revision(
    top: str, commit: str, note: dict[str, tuple[str, int]] | None, blobs: dict[str, int]
) -> ScannedRevision:
    files: dict[str, int | None] = {}
    used = set()
    plain = 0
    for path, entry in _walk(top):
        if entry.is_symlink():
            name = note[path][0] if note and path in note else Path(entry.path).readlink().name
            used.add(name)
            files[path] = blobs.get(name)
        else:
            size = files[path] = _size(entry)
            plain += size or 0
    complete = None
    if note is not None:
        complete = all(files.get(path) is not None for path in note)
    return ScannedRevision(commit, files, frozenset(used), plain, complete)


def _walk(top: str, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    for entry in _entries(f"{top}/{prefix}"):
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(top, f"{path}/")
        else:
            yield path, entry


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _note(path: str) -> dict[str, tuple[str, int]] | None:
    return tree.contents(_read(path))


def _read(path: str) -> bytes:
    """Return a small file's bytes, none where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs more than the read
            return file.read()
    except OSError:
        return b""


def _size(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat().st_size
    except OSError:
        return None
