"""What takes over the files that other clients brought."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from modelkeep.keep.opened import OpenKeep

if TYPE_CHECKING:
    from modelkeep.hub.adopt.plan import Adopted, Plan
    from modelkeep.hub.adopt.undo import Undone, UndoPlan
    from modelkeep.hub.progress import Progress
    from modelkeep.store.digest import Digest


class Adopting(OpenKeep):
    """The verb adopt."""

    def plan_adoption(
        self,
        caches: Iterable[str | os.PathLike[str]],
        *,
        merge: bool = False,
        share: bool = False,
    ) -> tuple[Plan, ...]:
        """Decide, from names and sizes alone, what adopting caches does. Changes nothing.

        A cache that a merge has replaced by a link to this keep needs nothing and is left out.
        `share` allows that others read through the keep what they could not read before; without
        it that is an AccessError.
        """
        from modelkeep.hub.adopt import loadable
        from modelkeep.hub.adopt.merge import resumable
        from modelkeep.hub.adopt.places import Place, locate, names
        from modelkeep.hub.adopt.plan import plan

        seen: set[Digest] = set()
        plans: list[Plan] = []
        located: set[Path] = set()
        for cache in dict.fromkeys(map(Path, caches)):
            interrupted = resumable(self.store, names(cache))
            if interrupted is not None:
                place = Place(interrupted.cache)
            else:
                place = locate(cache, self.directory)
            if not place.merged and place.directory not in located:
                located.add(place.directory)
                merging = merge or interrupted is not None
                made = plan(self.store, place, merge=merging, share=share, seen=seen)
                if merge and made.directory == made.cache:
                    left = loadable.left_behind(made.stock, self.hub)
                    loadable.refuse(made.cache, made.stock, left, begun=False)
                plans.append(made)
        return tuple(plans)

    def adopt(self, plan: Plan, progress: Progress | None = None) -> Adopted:
        """Carry out what `plan_adoption` decided for one cache."""
        from modelkeep.hub.adopt.merge import merge
        from modelkeep.hub.adopt.share import share
        from modelkeep.hub.progress import Progress
        from modelkeep.hub.upstream import Upstream

        self.require_writable(elsewhere=True)
        progress = progress or Progress()
        endpoint = self.endpoint.value if self.endpoint else None
        # A plain folder notes no repo, so nothing says where its files could be fetched again.
        upstream = None if plan.plain else Upstream(endpoint).public
        if plan.merge:
            return merge(self.store, self.hub, plan, upstream, progress)
        return share(self.store, plan, upstream, progress)

    def plan_undo(self, caches: Iterable[str | os.PathLike[str]] = ()) -> tuple[UndoPlan, ...]:
        """Decide what giving caches back takes, or undoing the latest adoption. Changes nothing."""
        from modelkeep.hub.adopt import undo as undoing
        from modelkeep.hub.adopt.places import names

        given = [list(names(Path(cache))) for cache in caches]
        journals = undoing.to_undo(self.store, given)
        return tuple(
            undoing.plan(self.store, journal, journals[:number])
            for number, journal in enumerate(journals)
        )

    def undo(self, plan: UndoPlan, progress: Progress | None = None) -> Undone:
        """Carry out what `plan_undo` decided for one adoption."""
        from modelkeep.hub.adopt import undo as undoing
        from modelkeep.hub.progress import Progress

        self.require_writable()
        return undoing.undo(self.store, plan, progress or Progress())
