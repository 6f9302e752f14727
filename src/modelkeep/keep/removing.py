"""What takes things out of a keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelkeep.hub.asked import asked, several
from modelkeep.hub.repo import Repo
from modelkeep.keep.opened import OpenKeep
from modelkeep.keep.recording import unrecorded_use

if TYPE_CHECKING:
    from modelkeep.hub.progress import Progress
    from modelkeep.hub.removal.collect import CollectionPlan
    from modelkeep.hub.removal.remove import Removal, RemovalPlan


class Removing(OpenKeep):
    """The verbs rm and gc."""

    def plan_removal(self, repo: str | Repo, revision: str | None = None) -> RemovalPlan:
        """Decide what removing a repo, or one revision, takes away. Changes nothing."""
        return self.plan_removals([(repo, revision)])

    def plan_removals(self, targets: Iterable[tuple[str | Repo, str | None]]) -> RemovalPlan:
        """Decide what removing several repos or revisions together takes away.

        BusyError where one of them is leased or pinned, also of `remove`.
        """
        from modelkeep.hub.removal import remove as removing

        named = [asked(repo, revision, None) for repo, revision in targets]
        plan = removing.plan(self.store, self.hub, named)
        removing.require_unheld(self.store, self.hub, plan)
        return plan

    def remove(self, plan: RemovalPlan) -> Removal:
        """Carry out what `plan_removal` decided."""
        from modelkeep.hub.removal import remove as removing
        from modelkeep.store import ballast

        self.require_writable()
        removing.require_unheld(self.store, self.hub, plan)
        with ballast.dropped_where_full(self.store.layout):
            return removing.execute(self.store, self.hub, plan)

    def plan_collection(
        self,
        *,
        keep_under: int | None = None,
        free: int | None = None,
        older_than: float | None = None,
        match: str | Iterable[str] = (),
        everything: bool = False,
        grace: float | None = None,
    ) -> CollectionPlan:
        """Decide what a collection takes away: garbage, and what the arguments ask for besides.

        `keep_under` and `free` are bytes: revisions go, least recently used first, until the keep
        takes no more, or so much comes back. `older_than` (seconds without use) and `match` (shell
        patterns) narrow the choice, or are it; `everything` is all that can be fetched again.
        `grace` replaces, in seconds, how long what nobody uses is left in peace. UsageError where
        the arguments contradict each other.
        """
        from modelkeep.hub.removal import collect as collecting
        from modelkeep.hub.removal.evict import Wish

        wish = Wish(keep_under, free, older_than, several(match), everything)
        self.require_writable()
        unrecorded = unrecorded_use(self) if wish.evicts else None
        return collecting.plan(
            self.store, self.hub, wish, grace_s=grace, notes=(unrecorded,) if unrecorded else ()
        )

    def collect(self, plan: CollectionPlan, progress: Progress | None = None) -> Removal:
        """Carry out what `plan_collection` decided; what is used by now stays."""
        from modelkeep.hub.removal import collect as collecting

        self.require_writable()
        return collecting.execute(self.store, self.hub, plan, progress)
