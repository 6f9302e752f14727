"""Answers "which file does a loader open, and why that one"."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import NotFoundError
from modelkeep.fs.links import COPY_BELOW
from modelkeep.fs.oserrors import explained
from modelkeep.fs.sameness import identity
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import DEFAULT_REVISION, Repo
from modelkeep.settings import Decided
from modelkeep.store.checked import Checked
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.store import Store
from modelkeep.times import utc_now


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """A file as a loader finds it. `size` is in bytes.

    `path` is what the loader opens, `blob` where the bytes lie. `intact` is True while the blob is
    as it was last hashed, False when it was found bad or has changed, None if it was never hashed.
    """

    file: str
    path: Path
    blob: Path
    digest: Digest | None
    size: int
    links: int
    intact: bool | None
    checked_at: str | None


@dataclass(frozen=True, slots=True)
class Where:
    """Where a repo's files are for a stock loader. `in_keep` is False for a cache elsewhere."""

    repo: str
    commit: str
    files: tuple[LocatedFile, ...]
    decided_by: Decided
    in_keep: bool


def locate(
    store: Store,
    keep_hub: HubCache,
    repo: Repo,
    revision: str | None,
    file: str | None,
    decided_by: Decided,
) -> Where:
    """Find a repo's files in the cache a loader looks in, else in the keep.

    Raises NotFoundError, saying whether it is the repo, the revision or the file that is missing.
    """
    caches = [HubCache(Path(decided_by.value)), keep_hub]
    wanted = revision or DEFAULT_REVISION
    for cache in caches:
        commit = cache.resolve(repo, wanted)
        if commit is not None:
            break
    else:
        raise NotFoundError(
            f"`{repo}` has no revision `{wanted}` here"
            if any(cache.folder(repo).is_dir() for cache in caches)
            else f"`{repo}` is not in the keep",
            hint=f"get it: modelkeep pull {repo}" + (f"@{revision}" if revision else ""),
        )
    paths = cache.snapshot_files(repo, commit)
    if file is not None and file not in paths:
        raise NotFoundError(
            f"`{repo}` has no file `{file}` at {commit[:12]}",
            hint=f"see its files: modelkeep where {repo}",
        )
    checked = store.checked()
    return Where(
        repo=repo.id,
        commit=commit,
        files=tuple(
            _located(store, checked, name, path)
            for name, path in paths.items()
            if file in (None, name)
        ),
        decided_by=decided_by,
        in_keep=_same(cache.directory, keep_hub.directory),
    )


def _located(store: Store, checked: Checked, name: str, path: Path) -> LocatedFile:
    pointed = path.readlink().name if path.is_symlink() else path.name
    digest = Digest.from_etag(pointed)
    blob = path.resolve()
    status = blob.stat()
    intact, checked_at = _condition(store, checked, digest, blob, status)
    return LocatedFile(
        file=name,
        path=path,
        blob=blob,
        digest=digest,
        size=status.st_size,
        links=status.st_nlink,
        intact=intact,
        checked_at=checked_at,
    )


def _condition(
    store: Store, checked: Checked, digest: Digest | None, blob: Path, status: os.stat_result
) -> tuple[bool | None, str | None]:
    """Tell whether a blob is as its name says, and when that was last made sure of.

    Small files are copies that people edit; hashing one costs less than asking about it.
    """
    if digest is None:
        return None, None
    info = store.info(digest)
    if info is not None and _same(blob, info.path):
        latest = checked.latest(info.path, identity(status), info.checked_at)
        return info.intact, latest if info.intact else info.checked_at
    if status.st_size < COPY_BELOW:
        with explained("hashing", blob):
            return hash_file(blob, digest.algorithm)[0] == digest, utc_now()
    return None, None


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
