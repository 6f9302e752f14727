"""Repairs files of a stock cache that is no keep's: each is replaced, none is written into."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.hub import mend
from modelkeep.hub.cache import HubCache
from modelkeep.hub.former import Former
from modelkeep.hub.refetch import Refetcher, origins
from modelkeep.hub.repair import Outcome
from modelkeep.hub.replacements import Replacements
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest
from modelkeep.store.meta import Source
from modelkeep.store.report import Mended, VerifyReport


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
    todo = [(bad.digest, Path(bad.path), "replaced") for bad in report.corrupt]
    todo += [
        (digest, cache.directory / cache.blob_name(repo, digest), "restored")
        for digest in report.missing
        for repo in missed.get(digest, ())
    ]
    for digest, path, how in todo:
        try:
            with Former(path) as former:
                source = _replace(cache, digest, path, replacements, refetcher)
                out.mended.append(Mended(digest, str(path), how, source))
                if left := former.unhealed(digest, path):
                    out.odd.append(left)
        except FileNotFoundError:
            continue  # a client removed it meanwhile
        except ModelkeepError as error:
            out.fail(digest, path, error)
    return out


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
