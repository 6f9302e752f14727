"""What leases and pins say about revisions: which have to stay, and how to hold one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from modelkeep.errors import BusyError
from modelkeep.fs import identity
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest
from modelkeep.store.leases import Held, Kind, Lease, letting_go, unknown_hold
from modelkeep.store.marks import wait_out_all
from modelkeep.store.store import Store


@dataclass(frozen=True, slots=True)
class Hold:
    """Why something has to stay, in words that complete "it is", and how to end that."""

    reason: str
    ending: str

    @classmethod
    def by(cls, lease: Lease) -> Hold:
        """Describe what a lease does."""
        if lease.kind is Kind.PIN:
            return cls(str(lease), f"modelkeep unpin {lease.name}")
        return cls(
            str(lease), f"wait until it has ended, or end it: modelkeep leases --drop {lease.id}"
        )

    def busy(self, name: str) -> BusyError:
        """Return the error of whoever wanted to take it away."""
        return BusyError(f"`{name}` is {self.reason}", hint=self.ending)


def hold_on(
    hub: HubCache, held: Held, repo: Repo, commit: str, digests: Collection[Digest] = ()
) -> Hold | None:
    """Return what keeps a revision of a repo in place; None where nothing does.

    A lease on a branch or tag is on the commit that this stands for now; one that the cache does
    not know may stand for any. `digests` are what only that revision has: another revision, still
    on its way here, may be going to use them, too.
    """
    for path in held.unreadable:
        return Hold(unknown_hold(path), f"look at `{path}`, then: {letting_go(path)}")
    for lease in held.named(str(repo)):
        revision = lease.name.partition("@")[2]
        if not revision or (hub.resolve(repo, revision) or commit) == commit:
            return Hold.by(lease)
        if not lease.digests.isdisjoint(digests):
            return Hold.by(lease)
    return None


@contextmanager
def in_hand(
    store: Store, repo: Repo, revision: str | None, digests: Iterable[Digest], *, reason: str
) -> Iterator[None]:
    """Hold a revision, or all of a repo, and contents while this process works on it.

    Look only inside the block whether they are there: then they stay.
    """
    store.leases.tidy()
    name = f"{repo}@{revision}" if revision else str(repo)
    lease = store.leases.take(name, digests, reason=reason, owner=identity.current())
    try:
        wait_out_all(store.layout)
        yield
    finally:
        store.leases.drop(lease.id)
