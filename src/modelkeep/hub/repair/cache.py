"""Repairs files of a stock cache that is no keep's: each is replaced, none is written into."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable, sharing
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repair import mend
from modelkeep.hub.repair.former import names_elsewhere
from modelkeep.hub.repair.keep import Outcome
from modelkeep.hub.repair.refetch import Refetcher, origins
from modelkeep.hub.repair.replacements import Replacements
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest
from modelkeep.store.meta import Source
from modelkeep.store.report import Mended, Unverifiable, VerifyReport


def repair_cache(
    cache: HubCache,
    report: VerifyReport,
    missed: Mapping[Digest, Iterable[Repo]],
    replacements: Replacements,
    refetcher: Refetcher,
) -> Outcome:
    """Replace what a report of a cache names by verified files, and add what is missing.

    What cannot be repaired is told in the outcome, and the rest goes on. A crash leaves each file
    as it was, or good, and perhaps an unfinished one beside it.
    """
    out = Outcome()
    former = _FormerInodes()
    todo = [(bad.digest, Path(bad.path), "replaced") for bad in report.corrupt]
    todo += [
        (digest, cache.directory / cache.blob_name(repo, digest), "restored")
        for digest in report.missing
        for repo in missed.get(digest, ())
    ]
    for digest, path, how in todo:
        try:
            _refuse_planted(cache, path)
            inode = former.of(path)
            if inode is not None and (new := inode.successor) is not None:
                source = _link(new, path)
            else:
                source = _replace(cache, digest, path, replacements, refetcher)
        except FileNotFoundError:
            continue  # a client removed it meanwhile
        except ModelkeepError as error:
            out.fail(digest, path, error)
        else:
            out.mended.append(Mended(digest, str(path), how, source))
            if inode is not None:
                inode.successor = path
                inode.names -= 1
    out.odd += former.left(report)
    return out


def _refuse_planted(cache: HubCache, path: Path) -> None:
    """Raise AccessError where another user's link leads from a cache to a file of it."""
    if path.is_relative_to(cache.directory):
        sharing.refuse_planted(cache.directory, path.parent)
        return
    for repo in cache.repos():  # a payload in a folder that stands elsewhere
        if path.is_relative_to(cache.folder(repo).resolve()):
            sharing.refuse_planted(cache.directory, cache.folder(repo))


@dataclass(slots=True)
class _Inode:
    """An inode with bad bytes: names that still lead to it, its owner, what replaced it here."""

    names: int
    owner: int
    successor: Path | None = None


class _FormerInodes:
    """The inodes of files that are replaced. What shared one here shares the new one."""

    def __init__(self) -> None:
        self._inodes: dict[tuple[int, int], _Inode] = {}

    def of(self, path: Path) -> _Inode | None:
        """Return the inode that a path has now, None where nothing is there."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        inode = _Inode(status.st_nlink, status.st_uid)
        return self._inodes.setdefault((status.st_dev, status.st_ino), inode)

    def left(self, report: VerifyReport) -> list[Unverifiable]:
        """Return what to say of names elsewhere that still have the bad bytes."""
        digests = {bad.path: bad.digest for bad in report.corrupt}
        return [
            names_elsewhere(
                digests[str(inode.successor)], inode.successor, inode.names, inode.owner
            )
            for inode in self._inodes.values()
            if inode.successor is not None and inode.names > 0
        ]


def _link(new: Path, path: Path) -> str:
    """Let a file share what has replaced the inode it had; return where that is."""
    temporary = mend.new_name(path)
    if not mend.link(new, temporary):
        raise ModelkeepError(f"`{path}` can no longer share `{new}`")
    mend.put(temporary, path)
    return str(new)


def _replace(
    cache: HubCache,
    digest: Digest,
    path: Path,
    replacements: Replacements,
    refetcher: Refetcher,
) -> str:
    """Put verified bytes in the place of a file; return where they came from."""
    path = Path(os.path.realpath(path.parent), path.name)
    if path.is_symlink():  # it leads to nothing: the payload of a newer client is gone
        raise ModelkeepError(f"`{path}` is a link to nothing", hint="remove the link first")
    temporary = mend.new_name(path)
    size = _size(cache, digest)
    found = replacements.bring(digest, size, temporary, besides=path)
    if found is not None:
        mend.put(temporary, path)
        return str(found)
    scratch = durable.temporary_beside(path.parent)

    def deliver(part: Path, _: Source) -> None:
        part.rename(temporary)

    try:
        fetched = refetcher.fetch(
            digest,
            origins(None, [cache], digest),
            deliver,
            partials=scratch / "fetch",
            locks=scratch / "locks",
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    mend.put(temporary, path)
    return f"{fetched.repo} at {fetched.commit[:12]} upstream"


def _size(cache: HubCache, digest: Digest) -> int | None:
    for repo in cache.repos():
        for commit in cache.commits(repo):
            for file in cache.tree(repo, commit) or ():
                if file.digest == digest:
                    return file.size
    return None
