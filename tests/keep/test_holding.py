"""What is pinned or in use stays, until those who hold it, or a person, let go."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from modelkeep.errors import BusyError, NotFoundError, UsageError
from modelkeep.fs import identity
from modelkeep.hub.holds import in_hand
from modelkeep.hub.repo import parse
from modelkeep.keep import Keep
from modelkeep.store import marks
from tests import forks
from tests.hub import Hub, Repository
from tests.keeping import held_by, loaded
from tests.models import TINY, random_bytes

REPO, _ = parse("org/tiny")
ELSEWHERE = replace(identity.current(), host="elsewhere", pid=1, start="1")


@pytest.fixture
def filled(keep: Keep, tiny_repo: Repository) -> Keep:
    """A keep with two revisions of `org/tiny`: `v1`, and `main` after it."""
    tiny_repo.tag("v1")
    keep.pull("org/tiny", "v1")
    tiny_repo.commit({"config.json": b"{}", "new.bin": random_bytes(2 << 20, 7)}, update=True)
    keep.pull("org/tiny")
    return keep


def everything(keep: Keep) -> dict[str, bytes]:
    return {
        str(path.relative_to(keep.directory)): path.read_bytes()
        for path in keep.directory.rglob("*")
        if path.is_file() and "leases" not in path.parts
    }


def refused(keep: Keep, repo: str, revision: str | None = None) -> BusyError:
    """Removing is refused, and nothing at all changes."""
    before = everything(keep)
    with pytest.raises(BusyError) as refusal:
        keep.remove(keep.plan_removal(repo, revision))
    assert everything(keep) == before
    assert refusal.value.exit_code == 3
    return refusal.value


def test_a_pinned_repo_is_not_removed_nor_is_any_revision_of_it(filled: Keep) -> None:
    filled.pin("org/tiny", reason="the demo")

    for revision in (None, "v1", "main"):
        error = refused(filled, "org/tiny", revision)
        assert "the demo" in error.message
        assert error.hint == "modelkeep unpin org/tiny"

    filled.unpin("org/tiny")
    filled.remove(filled.plan_removal("org/tiny"))
    assert not list(filled.store.blobs())


def test_a_pinned_revision_keeps_its_repo_and_lets_the_others_go(filled: Keep) -> None:
    filled.pin("org/tiny@v1")

    refused(filled, "org/tiny")
    refused(filled, "org/tiny", "v1")
    filled.remove(filled.plan_removal("org/tiny", "main"))

    assert loaded(filled, "org/tiny", "v1") == TINY


def test_a_pinned_branch_is_what_it_stands_for_now(filled: Keep, tiny_repo: Repository) -> None:
    filled.pin("org/tiny@main")
    old = held_by(filled, "org/tiny").commit
    tiny_repo.commit({"config.json": b"[]"}, update=True)
    filled.pull("org/tiny")

    filled.remove(filled.plan_removal("org/tiny", old))

    refused(filled, "org/tiny", "main")


def test_a_pin_on_a_branch_that_is_gone_may_stand_for_any_commit(filled: Keep) -> None:
    filled.pin("org/tiny@v1")
    (filled.hub.folder(REPO) / "refs" / "v1").unlink()

    refused(filled, "org/tiny", "main")


def test_what_is_not_here_cannot_be_pinned(filled: Keep) -> None:
    for name in ("org/none", "org/tiny@v9"):
        with pytest.raises(NotFoundError):
            filled.pin("org/tiny", name)
    assert filled.leases().leases == ()


def test_pinning_again_changes_the_reason(filled: Keep) -> None:
    filled.pin("org/tiny", reason="one")
    filled.pin("org/tiny", reason="two")

    assert [pin.reason for pin in filled.leases().leases] == ["two"]


def test_a_bare_name_unpins_its_revisions_too(filled: Keep) -> None:
    filled.pin("org/tiny", "org/tiny@v1", "org/tiny@main")

    with pytest.raises(NotFoundError, match="not pinned"):
        filled.unpin("org/tiny@v2")
    assert [pin.revision for pin in filled.unpin("org/tiny@v1")] == ["v1"]
    assert len(filled.unpin("org/tiny")) == 2
    with pytest.raises(NotFoundError):
        filled.unpin("org/tiny")


def test_what_a_process_uses_is_not_removed_until_it_ends(filled: Keep) -> None:
    commit = held_by(filled, "org/tiny").commit

    def use() -> None:
        filled.store.leases.take(f"org/tiny@{commit}", [], owner=identity.current(), reason="train")

    user = forks.start(use, sync="stop:write:done")
    user.stopped()

    error = refused(filled, "org/tiny")
    assert f"process {user.pid}" in error.message
    assert "train" in error.message
    (lease,) = filled.leases("org/tiny").leases
    assert lease.owner is not None
    assert (lease.owner.running, lease.holds) == (True, True)
    assert str(error.hint).endswith(f"modelkeep leases --drop {lease.id}")

    user.kill()
    (lease,) = filled.leases("org/tiny").leases
    assert not lease.holds
    filled.remove(filled.plan_removal("org/tiny"))


def test_leases_are_told_for_one_repo_or_all(filled: Keep) -> None:
    filled.store.leases.take("something of another program", [])
    filled.pin("org/tiny@v1")

    assert [lease.name for lease in filled.leases("org/tiny").leases] == ["org/tiny@v1"]
    pin, other = filled.leases().leases
    assert (pin.repo, pin.type, pin.revision, pin.is_own) == ("org/tiny", "model", "v1", True)
    assert (other.repo, other.type, other.revision) == (None, None, None)
    assert filled.leases("datasets/org/tiny").leases == ()


def test_any_lease_can_be_dropped_by_the_beginning_of_its_id(filled: Keep) -> None:
    held = [filled.store.leases.take("org/tiny", [], owner=ELSEWHERE) for _ in range(2)]
    refused(filled, "org/tiny")

    with pytest.raises(NotFoundError):
        filled.drop_leases("nothing")
    with pytest.raises(NotFoundError):
        filled.drop_leases("")
    for lease in held:
        assert filled.drop_leases(lease.id[:8])
    filled.remove(filled.plan_removal("org/tiny"))


def test_an_ambiguous_beginning_drops_nothing(filled: Keep) -> None:
    for name in ("abc1", "abc2"):
        (filled.store.layout.leases / f"{name}.json").write_text("{}")
    with pytest.raises(UsageError, match="2 leases"):
        filled.drop_leases("abc")


@pytest.mark.parametrize("name", ["broken.json", "README"])
def test_a_lease_that_cannot_be_read_stops_every_removal(filled: Keep, name: str) -> None:
    path = filled.store.layout.leases / name
    path.write_text("{")

    error = refused(filled, "org/tiny", "v1")

    (unreadable,) = filled.leases("org/none").unreadable
    assert unreadable.path == path
    assert str(error.hint).endswith(f"--drop {unreadable.id}")
    assert filled.drop_leases(unreadable.id) == (unreadable,)
    filled.remove(filled.plan_removal("org/tiny"))


def test_a_pull_in_flight_is_not_removed(keep: Keep, hub: Hub, tiny_repo: Repository) -> None:
    pull = forks.start(partial(keep.pull, "org/tiny"), sync="stop:materialise:snapshot")
    pull.stopped()

    assert "modelkeep pull" in refused(keep, "org/tiny").message

    pull.resume()
    pull.result()
    assert loaded(keep, "org/tiny") == TINY
    assert keep.leases().leases == ()
    keep.remove(keep.plan_removal("org/tiny"))


def test_what_a_pull_of_another_revision_counts_on_is_not_removed(
    filled: Keep, tiny_repo: Repository
) -> None:
    """The next revision has the file that `main` alone has so far."""
    tiny_repo.commit({"more.txt": b"more"}, update=True)
    pull = forks.start(partial(filled.pull, "org/tiny"), sync="stop:materialise:referred")
    pull.stopped()

    refused(filled, "org/tiny", "main")

    pull.resume()
    pull.result()
    assert filled.is_complete("org/tiny")


def test_a_lease_taken_while_a_person_thinks_is_respected(filled: Keep) -> None:
    plan = filled.plan_removal("org/tiny")
    filled.pin("org/tiny")
    with pytest.raises(BusyError):
        filled.remove(plan)
    assert filled.is_complete("org/tiny")


def removal(keep: Keep) -> None:
    keep.remove(keep.plan_removal("org/tiny"))


def test_a_branch_that_moved_since_the_plan_stays_where_it_went(
    filled: Keep, tiny_repo: Repository
) -> None:
    plan = filled.plan_removal("org/tiny", "main")
    tiny_repo.commit({"config.json": b"[]"}, update=True)
    newer = filled.pull("org/tiny").commit

    filled.remove(plan)

    assert held_by(filled, "org/tiny").commit == newer
    assert filled.is_complete("org/tiny")
    assert sorted(filled.hub.commits(REPO)) == sorted(
        [newer, held_by(filled, "org/tiny", "v1").commit]
    )


@pytest.mark.parametrize(
    "step",
    [
        "remove:announced",
        "remove:ref",
        "remove:hiding",
        "remove:hidden",
        "remove:hiding#2",
        "remove:hidden#2",
        "remove:hidden#3",
    ],
)
def test_a_removal_stopped_in_the_middle_takes_nothing_from_those_who_came_meanwhile(
    filled: Keep, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_LIFETIME_S", 0.2)
    commit = held_by(filled, "org/tiny").commit
    expected = loaded(filled, "org/tiny")
    collector = forks.start(partial(removal, filled), sync=f"stop:{step}")
    collector.stopped()
    there = filled.hub.snapshot(REPO, commit).is_dir()
    with in_hand(filled.store, REPO, commit, [], reason="test"):
        assert filled.hub.snapshot(REPO, commit).is_dir() == there
        collector.resume()
        collector.ended()
        assert filled.hub.snapshot(REPO, commit).is_dir()
        assert loaded(filled, "org/tiny") == expected
        assert set(filled.hub.refs(REPO)) == {"main", "v1"}
    assert filled.is_complete("org/tiny", commit)
    assert filled.verify().ok


def test_a_consumer_waits_until_a_removal_is_through(filled: Keep) -> None:
    commit = held_by(filled, "org/tiny").commit
    collector = forks.start(partial(removal, filled), sync="stop:remove:hidden")
    collector.stopped()

    def consume() -> bool:
        with in_hand(filled.store, REPO, commit, [], reason="test"):
            return filled.hub.snapshot(REPO, commit).is_dir()

    consumer = forks.start(consume)
    collector.resume()
    assert consumer.result() is False
    collector.result()
    assert filled.list().repos == ()


def test_a_pin_killed_at_any_step_is_there_or_not(filled: Keep, tmp_path: Path) -> None:
    def pin() -> None:
        Keep.open(filled.directory).pin("org/tiny", reason="why")

    found = forks.steps(pin, tmp_path / "steps.log")
    filled.unpin("org/tiny")
    assert len(found) >= 3
    for step in found:
        assert forks.start(pin, sync=f"kill:{step}").killed(), step

        listing = filled.leases()
        assert listing.unreadable == ()
        assert [lease.reason for lease in listing.leases] in ([], ["why"])
        if listing.leases:
            refused(filled, "org/tiny")
        pin()
        assert len(filled.leases().leases) == 1
        filled.unpin("org/tiny")


def test_an_unpin_killed_at_any_step_has_happened_or_not(filled: Keep, tmp_path: Path) -> None:
    def unpin() -> None:
        Keep.open(filled.directory).unpin("org/tiny")

    filled.pin("org/tiny")
    for step in forks.steps(unpin, tmp_path / "steps.log"):
        filled.pin("org/tiny")
        assert forks.start(unpin, sync=f"kill:{step}").killed(), step
        assert len(filled.leases().leases) in (0, 1)
        assert filled.leases().unreadable == ()
