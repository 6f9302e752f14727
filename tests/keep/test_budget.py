"""A keep with a budget: pulls stay within it, by refusing or by making room as it is set."""

from __future__ import annotations

import os
import time

import pytest

from modelkeep.errors import NoSpaceError, SettingsError
from modelkeep.hub.progress import Progress
from modelkeep.keep import Keep
from modelkeep.store.leases import Kind
from tests.hub import Hub
from tests.keeping import held_by, loaded
from tests.models import random_bytes

MIB = 1 << 20


def settings(keep: Keep, text: str) -> Keep:
    path = keep.directory / "keep.toml"
    path.write_text('mode = "private"\n' + text)
    return Keep.open(keep.directory)


@pytest.fixture
def two(keep: Keep, hub: Hub) -> Keep:
    """`org/old` and `org/new` of 2 MiB each, used 9 and 3 days ago; `org/next` is not here yet."""
    for number, (name, days) in enumerate({"org/old": 9, "org/new": 3, "org/next": 0}.items()):
        hub.repo(name).commit({"config.json": b"{}", "w.bin": random_bytes(2 * MIB, number)})
        if days:
            keep.pull(name)
    then = time.time()
    for name, days in {"org/old": 9, "org/new": 3}.items():
        (weights,) = (file for file in held_by(keep, name).files if file.path == "w.bin")
        moment = then - days * 86_400
        os.utime(keep.store.layout.used(weights.digest), (moment, moment))
    return keep


def there(keep: Keep) -> list[str]:
    return [listed.repo for listed in keep.list().repos]


def test_what_fits_is_pulled_and_nothing_goes(two: Keep) -> None:
    keep = settings(two, 'budget = "7MB"\nevict = true\n')
    assert keep.pull("org/next").evicted == ()
    assert len(there(keep)) == 3


def test_without_evict_the_pull_is_refused_and_says_what_to_do(two: Keep) -> None:
    keep = settings(two, 'budget = "5 MB"\n')
    with pytest.raises(NoSpaceError) as caught:
        keep.pull("org/next")
    assert "needs 2.1 MB, and the keep may take 5.0 MB" in caught.value.message
    assert "modelkeep gc --keep-under 2MB" in (caught.value.hint or "")
    assert there(keep) == ["org/new", "org/old"]


def test_with_evict_the_least_recently_used_goes_and_it_is_said(two: Keep) -> None:
    keep = settings(two, 'budget = "5MB"\nevict = true\n')
    notes: list[str] = []

    class Noting(Progress):
        def note(self, text: str) -> None:
            notes.append(text)

    commit = held_by(keep, "org/old").commit
    pulled = keep.pull("org/next", progress=Noting())

    assert [item.name for item in pulled.evicted] == [f"org/old@{commit}"]
    assert pulled.evicted[0].bytes >= 2 * MIB
    assert notes == [f"evicted org/old@{commit}, 2.1 MB"]
    assert there(keep) == ["org/new", "org/next"]
    assert loaded(keep, "org/next")["w.bin"] == random_bytes(2 * MIB, 2)


def test_what_is_here_is_never_refused(two: Keep) -> None:
    keep = settings(two, 'budget = "1 kB"\n')
    assert keep.pull("org/old").bytes_fetched == 0


def test_what_is_pinned_does_not_make_room_and_nothing_goes_in_vain(two: Keep) -> None:
    two.store.leases.take("org/old", (), kind=Kind.PIN, lifetime_s=None)
    keep = settings(two, 'budget = "3MB"\nevict = true\n')
    with pytest.raises(NoSpaceError, match="even without all that may go"):
        keep.pull("org/next")
    assert there(keep) == ["org/new", "org/old"]


def test_what_is_larger_than_the_budget_makes_nothing_go(two: Keep) -> None:
    keep = settings(two, 'budget = "2MB"\nevict = true\n')
    with pytest.raises(NoSpaceError) as caught:
        keep.pull("org/next")
    assert caught.value.hint == "raise `budget` in keep.toml"
    assert there(keep) == ["org/new", "org/old"]


def test_where_uses_are_not_recorded_nothing_goes_by_itself(two: Keep) -> None:
    keep = settings(two, 'budget = "5MB"\nevict = true\nrecord_use = false\n')
    with pytest.raises(NoSpaceError, match="uses are not recorded"):
        keep.pull("org/next")
    assert there(keep) == ["org/new", "org/old"]

    plan = keep.plan_collection(free=1)  # by hand it goes, and the plan says what is not known
    assert plan.notes[0] == "keep.toml says that uses are not recorded: last used may be wrong"
    assert "without `modelkeep exec` record no use" in plan.notes[1]
    assert keep.plan_collection(everything=True).notes == plan.notes[:1]
    keep.collect(plan)
    assert there(keep) == ["org/new"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('budget = "many"\n', "line 2: `many` is no size such as 500 GB, 1.5T or 20GiB"),
        ("budget = 500\n", "line 2: `budget` is not a string"),
        ('\nevict = "yes"\n', "line 3: `evict` is not true or false"),
        ('# a word\nbugdet = "1 GB"\n', "line 3: there is no setting `bugdet`"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_line(
    keep: Keep, text: str, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(keep, text)
    assert said in caught.value.message
