"""Decides which revisions go to make room. Pure: what is known goes in, a decision comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelkeep.errors import UsageError
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest
from modelkeep.store.garbage import Kept


@dataclass(frozen=True, slots=True)
class Wish:
    """What a collection is asked for besides garbage; nothing by default.

    `keep_under` is what the keep may take, `free` what the disk is to get back at least, in bytes:
    goals, of which there is one at most. `older_than` seconds without use and `patterns`, any of
    which a repo matches, narrow the choice; without a goal they are the choice. `everything` stands
    alone.
    """

    keep_under: int | None = None
    free: int | None = None
    older_than: float | None = None
    patterns: tuple[str, ...] = ()
    everything: bool = False

    def __post_init__(self) -> None:
        goals = [
            name
            for name, given in (
                ("--keep-under", self.keep_under is not None),
                ("--free", self.free is not None),
                ("--all", self.everything),
            )
            if given
        ]
        if len(goals) > 1:
            raise UsageError(
                f"{goals[0]} and {goals[1]} are two different goals", hint="give one of them"
            )
        if self.everything and self.narrows:
            raise UsageError(
                "--all leaves nothing to narrow",
                hint="without it, --match and --older-than mean all that they choose",
            )

    @property
    def narrows(self) -> bool:
        """True where only some revisions may go."""
        return self.older_than is not None or bool(self.patterns)

    @property
    def goes_by_use(self) -> bool:
        """True where it matters when a revision was last used."""
        return any(each is not None for each in (self.keep_under, self.free, self.older_than))

    @property
    def evicts(self) -> bool:
        """True where revisions may go at all."""
        has_goal = self.keep_under is not None or self.free is not None
        return has_goal or self.narrows or self.everything


@dataclass(frozen=True, slots=True)
class Candidate:
    """A revision and what it stands for.

    `names` are its blobs in the hub, `<folder>/<etag>`. `last_used` is a POSIX time, None where no
    use was recorded; `idle_since` is then when it came. `telling` is the content whose stamp says
    so. `kept` is why it must not go.
    """

    repo: Repo
    commit: str
    refs: tuple[str, ...]
    names: frozenset[str]
    last_used: float | None
    idle_since: float
    telling: Digest | None
    kept: str | None

    @property
    def name(self) -> str:
        """The revision as a person may name it."""
        return f"{self.repo}@{self.commit}"


@dataclass(frozen=True, slots=True)
class Space:
    """Where bytes on the disk come from: `own` go with a name in the hub, `<folder>/<etag>`.

    `stored` are those of the store's inodes, by etag: they go when the last name of an etag goes,
    unless something `elsewhere` holds it.
    """

    own: Mapping[str, int]
    stored: Mapping[str, int]
    elsewhere: frozenset[str]


@dataclass(frozen=True, slots=True)
class Evicted:
    """A revision that goes, and the bytes that come back with it, now and later."""

    candidate: Candidate
    bytes: int
    bytes_later: int
    reason: str


@dataclass(frozen=True, slots=True)
class Eviction:
    """Which revisions go, least recently used first, and which stay although they were meant."""

    evicted: tuple[Evicted, ...]
    kept: tuple[Kept, ...]
    short_of: int
    """Bytes of the goal that cannot be reached."""


def choose(
    candidates: Sequence[Candidate],
    space: Space,
    wish: Wish,
    *,
    now: float,
    used: int,
    garbage: int,
) -> Eviction:
    """Choose what goes. `used` is what the keep takes now, `garbage` what of it goes anyhow.

    With a goal the least recently used go until it is reached, and of those nothing without which
    it would be reached, too. Times are POSIX times.
    """
    goal = _goal(wish, used, garbage)
    meant = [each for each in candidates if _is_meant(each, wish, now)]
    kept = [Kept(each.name, each.kept) for each in meant if each.kept is not None]
    free = sorted(
        (each for each in meant if each.kept is None),
        # Of equals, those go first that no branch or tag stands for.
        key=lambda each: (each.idle_since, bool(each.refs), each.name),
    )
    short = 0
    if goal is not None:
        free, short = _least(free, _Ledger(candidates, space), goal)
    ledger, reason = _Ledger(candidates, space), _reason(wish)
    evicted = [Evicted(each, *ledger.give(each), reason) for each in free]
    return Eviction(tuple(evicted), tuple(kept), short)


def _least(free: Iterable[Candidate], ledger: _Ledger, goal: int) -> tuple[list[Candidate], int]:
    """Return which of those that may go have to for a goal, and what is short of it even so.

    Of what the first ones give back the later ones may give more, so that the first can stay.
    """
    gone = []
    for each in free:
        if ledger.freed >= goal:
            break
        ledger.give(each)
        gone.append(each)
    reached = min(goal, ledger.freed)
    needed = []
    for each in reversed(gone):
        ledger.take_back(each)
        if ledger.freed < reached:
            ledger.give(each)
            needed.append(each)
    return needed[::-1], goal - reached


def _goal(wish: Wish, used: int, garbage: int) -> int | None:
    """Return how many bytes revisions have to give back; None where all that are meant go."""
    if wish.keep_under is not None:
        return max(0, used - garbage - wish.keep_under)
    if wish.free is not None:
        return max(0, wish.free - garbage)
    return None


def _is_meant(candidate: Candidate, wish: Wish, now: float) -> bool:
    if wish.older_than is not None and now - candidate.idle_since < wish.older_than:
        return False
    patterns = wish.patterns
    return not patterns or any(candidate.repo.matches(pattern) for pattern in patterns)


def _reason(wish: Wish) -> str:
    parts = []
    if wish.patterns:
        parts.append(f"matches {' or '.join(wish.patterns)}")
    if wish.older_than is not None:
        parts.append("not used for as long as asked")
    if wish.keep_under is not None or wish.free is not None:
        parts.append("least recently used")
    return ", ".join(parts) or "can be fetched again"


class _Ledger:
    """Counts what comes back while revisions are given away."""

    def __init__(self, candidates: Iterable[Candidate], space: Space) -> None:
        self._space = space
        self._users = Counter(name for each in candidates for name in each.names)
        self._names = Counter(map(_etag, self._users))
        self.freed = 0

    def give(self, candidate: Candidate) -> tuple[int, int]:
        """Give a revision away; return what comes back with it, now and later."""
        now = later = 0
        for name in candidate.names:
            self._users[name] -= 1
            if self._users[name]:
                continue
            now += self._space.own.get(name, 0)
            etag = _etag(name)
            self._names[etag] -= 1
            if not self._names[etag]:
                stored = self._space.stored.get(etag, 0)
                if etag in self._space.elsewhere:
                    later += stored
                else:
                    now += stored
        self.freed += now
        return now, later

    def take_back(self, candidate: Candidate) -> None:
        """Undo that a revision was given away."""
        for name in candidate.names:
            if not self._users[name]:
                self.freed -= self._space.own.get(name, 0)
                etag = _etag(name)
                if not self._names[etag] and etag not in self._space.elsewhere:
                    self.freed -= self._space.stored.get(etag, 0)
                self._names[etag] += 1
            self._users[name] += 1


def _etag(name: str) -> str:
    return name.rpartition("/")[2]
