"""When a revision was last used, as the stamps of its contents tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from modelkeep.hub.scan import ScannedRepo
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store


def users(scans: Iterable[ScannedRepo]) -> Counter[str]:
    """Count the revisions that have each content, by its name in a cache."""
    return Counter(
        name for found in scans for revision in found.revisions for name in revision.blobs
    )


def telling(names: Iterable[str], sizes: Mapping[str, int], users: Mapping[str, int]) -> list[str]:
    """Return a revision's contents, the one that says most about it first.

    That is the largest of those that the fewest revisions have: what is stamped or noted there is
    about this one. Contents that are not here are left out.
    """
    return sorted(
        (name for name in names if name in sizes),
        key=lambda name: (users[name], -sizes[name], name),
    )


def digests(names: Iterable[str]) -> Iterator[Digest]:
    """Yield the digests that names of blobs are; some may be no checksums."""
    return filter(None, map(Digest.from_etag, names))


def last_used(store: Store, told: Iterable[str]) -> float | None:
    """Return the POSIX time of a revision's last recorded use; None where none was recorded.

    `told` are its contents as `telling` orders them: the first stamp counts.
    """
    for digest in digests(told):
        stamp = store.last_used(digest)
        if stamp is not None:
            return stamp
    return None
