"""Reads a stock cache's shape from disk with as few system calls as that takes.

A listing of a thousand repos waits for nothing else, so sizes come from the notes of what commits
hold, `trees/`, and only what no note names is looked at by itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from modelkeep.errors import AccessError
from modelkeep.fs.folders import entries, walk
from modelkeep.fs.oserrors import explained
from modelkeep.fs.reading import read_small
from modelkeep.hub import tree
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo, is_commit

INCOMPLETE = ".incomplete"
"""How the names end under which stock clients download."""


@dataclass(frozen=True, slots=True)
class ScannedRevision:
    """A snapshot as it stands on disk: how many files have their content, and its bytes.

    `blobs` are the names of the contents it refers to, `plain` the bytes of files that are no
    links. `complete` is None where nobody noted what the commit should hold.
    """

    commit: str
    files: int
    bytes: int
    complete: bool | None
    blobs: frozenset[str]
    plain: int


@dataclass(frozen=True, slots=True)
class ScannedRepo:
    """A repo as it lies on disk: refs, revisions, and the sizes of all its blobs by their names.

    `unfinished` are the names under which clients, and we, are writing there or once did, `inodes`
    those of everything that stands among the blobs, links themselves included.
    """

    repo: Repo
    refs: dict[str, str]
    revisions: tuple[ScannedRevision, ...]
    blobs: dict[str, int]
    unfinished: tuple[str, ...]
    inodes: dict[str, int]


def scan(hub: HubCache, repo: Repo) -> ScannedRepo:
    """Read one repo's folder. A blob is taken to have the size that a commit's listing gives it.

    AccessError where this caller may not look into it.
    """
    with explained("looking at a repo", hub.folder(repo)):
        return _scan(hub, repo)


def scan_all(hub: HubCache) -> tuple[list[ScannedRepo], dict[Repo, AccessError]]:
    """Read all repos, and say of those this caller may not look into why."""
    scans, closed = [], {}
    for repo in hub.repos():
        try:
            scans.append(scan(hub, repo))
        except AccessError as error:
            closed[repo] = error
    return scans, closed


def is_finished(name: str) -> bool:
    """Tell whether a name among blobs is one: clients, and we, write there under other names."""
    # `tmp_`: for a moment, a client's look at what its umask does.
    return not name.startswith((".", "tmp_")) and not name.endswith(INCOMPLETE)


def _scan(hub: HubCache, repo: Repo) -> ScannedRepo:
    folder = f"{hub.directory}/{repo.folder}"
    commits = sorted(
        entry.name for entry in entries(f"{folder}/snapshots") if is_commit(entry.name)
    )
    notes = {commit: _note(f"{folder}/trees/{commit}.json") for commit in commits}
    noted: dict[str, int] = {}
    for note in notes.values():
        noted.update(note.values() if note else ())
    blobs: dict[str, int] = {}
    unfinished: list[str] = []
    inodes: dict[str, int] = {}
    for entry in entries(f"{folder}/blobs"):
        name = entry.name
        inodes[name] = entry.inode()
        # A link is looked at in any case: its payload may be gone.
        if name in noted and not entry.is_symlink():
            blobs[name] = noted[name]
        elif is_finished(name):
            size = _size(entry)
            if size is not None:
                blobs[name] = size
        else:
            unfinished.append(name)
    revisions = [
        _revision(f"{folder}/snapshots/{commit}", commit, notes[commit], blobs)
        for commit in commits
    ]
    refs = _refs(f"{folder}/refs")
    return ScannedRepo(repo, refs, tuple(revisions), blobs, tuple(unfinished), inodes)


def _refs(top: str) -> dict[str, str]:
    _, files = walk(top)
    refs = {name: _read(entry.path).decode("ascii", "replace") for name, entry in files.items()}
    return {name: commit for name in sorted(refs) if is_commit(commit := refs[name].strip())}


def _revision(
    top: str, commit: str, note: dict[str, tuple[str, int]] | None, blobs: dict[str, int]
) -> ScannedRevision:
    links, others = walk(top)
    noted = note or {}
    named = {
        path: name
        for path in links
        if (name := noted[path][0] if path in noted else _pointed(f"{top}/{path}"))
    }
    held = {path: blobs[name] for path, name in named.items() if name in blobs}
    plain = {path: size for path, entry in others.items() if (size := _size(entry)) is not None}
    held |= plain
    return ScannedRevision(
        commit=commit,
        files=len(held),
        bytes=sum(held.values()),
        complete=None if note is None else held.keys() >= note.keys(),
        blobs=frozenset(named.values()),
        plain=sum(plain.values()),
    )


def _pointed(link: str) -> str | None:
    """Return the blob name a link points to; None where a removal was quicker."""
    try:
        return os.path.basename(os.readlink(link))  # noqa: PTH115, PTH119 - asked thousands of times
    except OSError:
        return None


def _note(path: str) -> dict[str, tuple[str, int]] | None:
    return tree.contents(_read(path))


def _read(path: str) -> bytes:
    """Return a small file's bytes, none where it cannot be read."""
    try:
        return read_small(path)
    except OSError:
        return b""


def _size(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat().st_size
    except OSError:
        return None
