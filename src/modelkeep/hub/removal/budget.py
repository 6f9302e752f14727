"""Keeps a pull within what the keep may take: makes room where that is allowed, or refuses."""

from __future__ import annotations

from collections.abc import Callable

from modelkeep.errors import NoSpaceError
from modelkeep.fs.space import readable
from modelkeep.hub.cache import HubCache
from modelkeep.hub.progress import Progress
from modelkeep.hub.removal import collect
from modelkeep.hub.removal.evict import Wish
from modelkeep.hub.removal.remove import RemovedItem
from modelkeep.sizes import as_option
from modelkeep.store.store import Store

# What was planned may be in use by the time it should go; then something else goes.
_ROUNDS = 3


class Budget:
    """How many bytes a keep may take, `limit`, and whether revisions may go to stay within it.

    `unrecorded` tells why nobody knows what was used last, if so: then nothing goes by itself.
    """

    def __init__(
        self,
        store: Store,
        hub: HubCache,
        limit: int,
        *,
        evict: bool,
        unrecorded: Callable[[], str | None],
        progress: Progress,
    ) -> None:
        self.evicted: list[RemovedItem] = []
        """The revisions that went."""
        self._store = store
        self._hub = hub
        self._limit = limit
        self._evict = evict
        self._unrecorded = unrecorded
        self._progress = progress

    def make_room(self, needed: int, *, doing: str) -> None:
        """See that `needed` bytes fit; NoSpaceError where they cannot.

        Then nothing has gone, unless a part of what was to go came into use meanwhile, as often as
        this tries: `evicted` tells. `doing` is a gerund: `pulling X`. What is leased stays, so
        the caller leases what it is about to use.
        """
        for _ in range(_ROUNDS):
            plan = collect.plan(
                self._store, self._hub, Wish(keep_under=max(0, self._limit - needed))
            )
            over = plan.bytes_used + needed - self._limit
            if over <= 0:
                return
            self._require_room(plan, needed, over, doing)
            removal = collect.execute(self._store, self._hub, plan)
            for item in removal.remove:
                if item.kind == "revision":
                    self.evicted.append(item)
                    self._progress.note(f"evicted {item.name}, {readable(item.bytes)}")
        raise self._refusal(needed, doing, "what could go is in use", "try again later")

    def _require_room(
        self, plan: collect.CollectionPlan, needed: int, over: int, doing: str
    ) -> None:
        if needed > self._limit:
            raise self._refusal(needed, doing, None, "raise `budget` in keep.toml")
        by_hand = f"make room: modelkeep gc --keep-under {as_option(self._limit - needed)}"
        if not self._evict:
            raise self._refusal(
                needed,
                doing,
                f"{readable(over, rounding_up=True)} too much",
                f"{by_hand}; or raise `budget` in keep.toml, or let it say `evict = true`",
            )
        if reason := self._unrecorded():
            raise self._refusal(needed, doing, f"nothing goes by itself: {reason}", by_hand)
        if plan.bytes_short:
            raise self._refusal(
                needed,
                doing,
                f"{readable(plan.bytes_short, rounding_up=True)} too much"
                " even without all that may go",
                "see what is kept, and why: modelkeep gc --all --dry-run",
            )

    def _refusal(self, needed: int, doing: str, why: str | None, hint: str) -> NoSpaceError:
        text = f"{doing} needs {readable(needed)}, and the keep may take {readable(self._limit)}"
        return NoSpaceError(f"{text}: {why}" if why else text, hint=hint)
