"""What takes things out of a keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelkeep.hub.asked import asked
from modelkeep.hub.repo import Repo
from modelkeep.keep.opened import OpenKeep

if TYPE_CHECKING:
    from modelkeep.hub.remove import Removal, RemovalPlan


class Removing(OpenKeep):
    """The verb rm."""

    def plan_removal(self, repo: str | Repo, revision: str | None = None) -> RemovalPlan:
        """Decide what removing a repo, or one revision, takes away. Changes nothing."""
        return self.plan_removals([(repo, revision)])

    def plan_removals(self, targets: Iterable[tuple[str | Repo, str | None]]) -> RemovalPlan:
        """Decide what removing several repos or revisions together takes away.

        BusyError where one of them is leased or pinned, also of `remove`.
        """
        from modelkeep.hub import remove as removing

        named = [asked(repo, revision, None) for repo, revision in targets]
        plan = removing.plan(self.store, self.hub, named)
        removing.require_unheld(self.store, self.hub, plan)
        return plan

    def remove(self, plan: RemovalPlan) -> Removal:
        """Carry out what `plan_removal` decided."""
        from modelkeep.hub import remove as removing

        self.require_writable()
        removing.require_unheld(self.store, self.hub, plan)
        return removing.execute(self.store, self.hub, plan)
