"""Where the revisions of a keep came from, as the side files of their blobs tell it."""

from __future__ import annotations

from collections.abc import Iterable

from modelkeep.hub.repo import Repo
from modelkeep.store import meta as metas
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store

LOCAL = "local"


def source_of(store: Store, repo: Repo, commit: str, digests: Iterable[Digest]) -> str | None:
    """Return the endpoint a revision was fetched from, `local` for one that was added here.

    `digests` are the revision's contents; those of its own tell sooner than what others share. None
    where nothing is recorded: a stock client may have brought it.
    """
    name = str(repo)
    for digest in digests:
        meta = metas.read(store.layout.meta_name(digest))
        for source in meta.sources if meta else ():
            if (source.repo, source.commit) == (name, commit):
                return source.upstream or LOCAL
    return None
