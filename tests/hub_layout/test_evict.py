"""Which revisions go, decided without a disk."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import UsageError
from modelkeep.hub.removal.evict import Candidate, Eviction, Space, Wish, choose
from modelkeep.hub.repo import parse

NOW = 1_000_000.0
DAY = 86_400.0
BIG = 1000


def revision(
    name: str,
    *blobs: str,
    days: float = 1,
    kept: str | None = None,
    refs: tuple[str, ...] = ("main",),
) -> Candidate:
    repo, commit = parse(name)
    return Candidate(
        repo=repo,
        commit=commit or "c",
        refs=refs,
        names=frozenset(f"{repo.folder}/{blob}" for blob in blobs),
        last_used=NOW - days * DAY,
        idle_since=NOW - days * DAY,
        telling=None,
        kept=kept,
    )


def space(*candidates: Candidate, own: int = 0, elsewhere: str = "") -> Space:
    names = {name for each in candidates for name in each.names}
    return Space(
        own=dict.fromkeys(names, own),
        stored={name.rpartition("/")[2]: BIG for name in names},
        elsewhere=frozenset(elsewhere.split()),
    )


def chosen(wish: Wish, *candidates: Candidate, elsewhere: str = "", garbage: int = 0) -> Eviction:
    where = space(*candidates, elsewhere=elsewhere)
    used = sum(where.stored.values()) + sum(where.own.values()) + garbage
    return choose(candidates, where, wish, now=NOW, used=used, garbage=garbage)


def names(found: Eviction) -> list[str]:
    return [each.candidate.name for each in found.evicted]


OLD = revision("google-bert/bert-base@1", "a", days=90)
MIDDLE = revision("org/two@2", "b", days=30)
NEW = revision("org/three@3", "c", days=1)
ALL = (NEW, OLD, MIDDLE)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Wish(), 0),
        (Wish(everything=True), 3),
        (Wish(free=1), 1),
        (Wish(free=BIG), 1),
        (Wish(free=BIG + 1), 2),
        (Wish(free=0), 0),
        (Wish(keep_under=3 * BIG), 0),
        (Wish(keep_under=3 * BIG - 1), 1),
        (Wish(keep_under=0), 3),
        (Wish(older_than=30 * DAY), 2),
        (Wish(older_than=31 * DAY), 1),
        (Wish(older_than=31 * DAY, free=2 * BIG), 1),
    ],
)
def test_the_least_recently_used_go_as_far_as_is_asked(wish: Wish, expected: int) -> None:
    if wish.evicts:
        assert names(chosen(wish, *ALL)) == [OLD.name, MIDDLE.name, NEW.name][:expected]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("bert-*", [OLD.name]),
        ("google-bert/*", [OLD.name]),
        ("org/*", [MIDDLE.name, NEW.name]),
        ("nothing*", []),
    ],
)
def test_patterns_mean_the_whole_id_or_the_name_alone(pattern: str, expected: list[str]) -> None:
    assert names(chosen(Wish(patterns=(pattern,)), *ALL)) == expected


def test_patterns_add_up_and_an_age_narrows_them() -> None:
    both = ("bert-*", "three")
    assert names(chosen(Wish(patterns=both), *ALL)) == [OLD.name, NEW.name]
    assert names(chosen(Wish(patterns=both, older_than=5 * DAY), *ALL)) == [OLD.name]


@pytest.mark.parametrize(
    "wish",
    [
        {"keep_under": 1, "free": 1},
        {"everything": True, "free": 1},
        {"everything": True, "older_than": 1.0},
        {"everything": True, "patterns": ("x",)},
    ],
)
def test_what_contradicts_itself_is_refused(wish: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Wish(**wish)  # type: ignore[arg-type]


def test_what_must_stay_stays_and_the_goal_is_told_to_be_out_of_reach() -> None:
    pinned = revision("org/one@1", "a", days=90, kept="pinned")
    found = chosen(Wish(free=2 * BIG), pinned, MIDDLE)
    assert names(found) == [MIDDLE.name]
    assert [(kept.name, kept.reason) for kept in found.kept] == [(pinned.name, "pinned")]
    assert found.short_of == BIG


def test_garbage_counts_towards_the_goal() -> None:
    assert names(chosen(Wish(free=BIG), *ALL, garbage=BIG)) == []
    assert names(chosen(Wish(keep_under=3 * BIG), *ALL, garbage=BIG)) == []


def test_shared_content_comes_back_with_the_last_of_its_users() -> None:
    one, two = revision("org/one@1", "a", days=9), revision("org/two@2", "a", days=8)
    found = chosen(Wish(free=1), one, two)
    assert [(each.candidate, each.bytes) for each in found.evicted] == [(one, 0), (two, BIG)]
    assert found.short_of == 0


def test_nothing_goes_that_gives_nothing_back() -> None:
    """The oldest shares all it has with one that has to stay."""
    useless = revision("org/one@1", "a", days=90)
    keeper = revision("org/two@2", "a", kept="pinned")
    found = chosen(Wish(free=BIG), useless, keeper, MIDDLE)
    assert names(found) == [MIDDLE.name]


def test_what_gives_little_stays_where_another_has_to_go_anyhow() -> None:
    """The oldest shares its weights with one that stays, and has a small file of its own."""
    oldest = revision("org/one@1", "a", "small", days=90)
    keeper = revision("org/two@2", "a", kept="pinned")
    where = space(oldest, keeper, MIDDLE)
    where = Space(where.own, {**where.stored, "small": 1}, where.elsewhere)
    candidates = (oldest, keeper, MIDDLE)
    found = choose(candidates, where, Wish(free=BIG), now=NOW, used=2 * BIG + 1, garbage=0)
    assert [(each.candidate, each.bytes) for each in found.evicted] == [(MIDDLE, BIG)]


def test_what_something_elsewhere_holds_comes_back_later() -> None:
    (found,) = chosen(Wish(everything=True), OLD, elsewhere="a").evicted
    assert (found.bytes, found.bytes_later) == (0, BIG)


def test_of_equals_the_one_without_a_branch_goes_first() -> None:
    named = revision("org/a@1", "a", days=9)
    bare = revision("org/b@2", "b", days=9, refs=())
    assert names(chosen(Wish(free=1), named, bare)) == [bare.name]


@st.composite
def keeps(draw: st.DrawFn) -> Sequence[Candidate]:
    count = draw(st.integers(1, 7))
    return [
        revision(
            f"org/r{draw(st.integers(0, 3))}@{number}",
            *draw(st.sets(st.sampled_from("abcde"), min_size=1)),
            days=draw(st.integers(0, 5)),
            kept=draw(st.sampled_from([None, None, "pinned"])),
        )
        for number in range(count)
    ]


@given(
    keeps(),
    st.one_of(
        st.builds(Wish, free=st.integers(0, 6 * BIG)),
        st.builds(Wish, keep_under=st.integers(0, 6 * BIG)),
        st.just(Wish(everything=True)),
        st.builds(Wish, older_than=st.integers(0, 5).map(lambda days: days * DAY)),
    ),
    st.sampled_from(["", "a", "a c"]),
)
def test_what_is_promised_is_what_a_count_of_what_stays_shows(
    candidates: Sequence[Candidate], wish: Wish, elsewhere: str
) -> None:
    where = space(*candidates, own=1, elsewhere=elsewhere)
    used = sum(where.stored.values()) + sum(where.own.values())

    found = choose(candidates, where, wish, now=NOW, used=used, garbage=0)

    gone = {each.candidate.name for each in found.evicted}
    assert all(each.candidate.kept is None for each in found.evicted)
    left = used - _gives(gone, candidates, where)
    assert used - left == sum(each.bytes for each in found.evicted)
    idle = [each.candidate.idle_since for each in found.evicted]
    assert idle == sorted(idle)
    if wish.free is not None:
        assert used - left >= wish.free - found.short_of
    if wish.keep_under is not None:
        assert left <= wish.keep_under + found.short_of
    goals = (wish.free, None if wish.keep_under is None else used - wish.keep_under)
    for goal in filter(None, goals):
        for name in gone:
            short = goal - _gives(gone - {name}, candidates, where)
            assert short > found.short_of, f"{name} goes without need"
    if found.short_of:
        free = {each.name for each in candidates if each.kept is None}
        assert all(
            each.name in gone or _gives_nothing(each, candidates, gone, where)
            for each in candidates
            if each.name in free
        )


def _gives(gone: set[str], candidates: Sequence[Candidate], where: Space) -> int:
    staying = {name for each in candidates if each.name not in gone for name in each.names}
    return sum(size for name, size in where.own.items() if name not in staying) + sum(
        size
        for etag, size in where.stored.items()
        if etag not in where.elsewhere and not any(name.endswith(f"/{etag}") for name in staying)
    )


def _gives_nothing(
    candidate: Candidate, candidates: Sequence[Candidate], gone: set[str], where: Space
) -> bool:
    others = {
        name
        for each in candidates
        if each.name not in gone and each.name != candidate.name
        for name in each.names
    }
    return all(name in others or not where.own[name] for name in candidate.names)
