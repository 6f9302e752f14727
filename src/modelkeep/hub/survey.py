"""Looks at caches that are not the keep's: what they hold, and what of it exists twice."""

from __future__ import annotations

import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import AccessError, ModelkeepError
from modelkeep.hub.cache import HubCache
from modelkeep.hub.scan import scan
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store


@dataclass(frozen=True, slots=True)
class CacheSurvey:
    """A stock cache. Sizes are bytes of content.

    `bytes_duplicate` is what the keep, or the cache itself under another repo, has already and
    without sharing space with it. `needs_root` is True where this caller cannot read all of it; the
    numbers then cover the rest.
    """

    dir: Path
    owner: str
    repos: int
    bytes: int
    bytes_duplicate: int
    needs_root: bool


def survey(directories: Iterable[Path], store: Store | None) -> tuple[CacheSurvey, ...]:
    """Look at the caches among some directories; those that hold no repo are left out.

    What cannot be looked into is reported, for it may be full.
    """
    found = []
    for directory in directories:
        looked = _look(HubCache(directory), store)
        if looked is not None:
            found.append(looked)
    return tuple(found)


def _look(cache: HubCache, store: Store | None) -> CacheSurvey | None:
    try:
        owner = _user(cache.directory.stat().st_uid)
        repos = list(cache.repos())
    except AccessError:
        return CacheSurvey(cache.directory, owner, 0, 0, 0, needs_root=True)
    except (OSError, ModelkeepError):
        return None  # no folder, or not here
    inodes: dict[str, set[tuple[int, int]]] = {}
    held = total = duplicate = 0
    hidden = False
    for repo in repos:
        try:
            scanned = scan(cache, repo)
        except (OSError, ModelkeepError):
            hidden = True
            continue
        held += bool(scanned.revisions)
        for name, size in scanned.blobs.items():
            known = inodes.setdefault(name, _in_store(store, name))
            inode = _inode(cache.folder(repo) / "blobs" / name)
            if inode is None or inode in known:
                continue  # shares its space with what was counted
            total += size
            duplicate += size if known else 0
            known.add(inode)
    if not held and not hidden:
        return None
    return CacheSurvey(cache.directory, owner, held, total, duplicate, hidden)


def _in_store(store: Store | None, name: str) -> set[tuple[int, int]]:
    digest = Digest.from_etag(name)
    inode = _inode(store.path(digest)) if store and digest else None
    return {inode} if inode else set()


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
