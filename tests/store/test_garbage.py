"""What of a store is garbage, decided without a disk; and how it goes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from modelkeep.store import garbage, inventory
from modelkeep.store.digest import Digest, hash_bytes
from modelkeep.store.garbage import Collected
from modelkeep.store.inventory import Inventory, Unused
from modelkeep.store.leases import Held, Kind, Lease, unknown_hold
from modelkeep.store.store import Store
from modelkeep.store.sweep import DAY_NS, Leftover
from tests import forks
from tests.later import Later
from tests.store.support import DATA, SOURCE, part, put

NOW = 100 * DAY_NS
NOBODY = Held((), (), ())
DIGEST = hash_bytes(b"x", "sha256")


def unused(*, idle_days: float = 50, fetchable: bool = True, name: bytes = b"x") -> Unused:
    return Unused(
        digest=hash_bytes(name, "sha256"),
        bytes=4096,
        idle_ns=NOW - int(idle_days * DAY_NS),
        last_used=None,
        origin=("org/name",),
        fetchable=fetchable,
    )


def store_with(*blobs: Unused, held: Held = NOBODY, unread: tuple[str, ...] = ()) -> Inventory:
    return Inventory(NOW, DAY_NS, {}, blobs, (), held, unread)


def lease(digest: Digest) -> Lease:
    return Lease("1", Kind.PIN, "org/name", frozenset({digest}), None, "ann", "", None, "demo")


def test_what_nobody_needs_goes_longest_unused_first() -> None:
    young, old = unused(idle_days=2), unused(idle_days=9, name=b"y")
    planned = garbage.plan(store_with(young, old))
    assert planned.blobs == (old, young)
    assert planned.bytes == 8192
    assert planned.kept == ()


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (store_with(unused(idle_days=0.9)), "nothing uses it, for less than 24 hours"),
        (store_with(unused(fetchable=False)), "no upstream is known to fetch it from again"),
        (store_with(unused(), held=Held((lease(DIGEST),), (), ())), "pinned by ann: demo"),
        (
            store_with(unused(), held=Held((), (), (Path("odd.json"),))),
            unknown_hold(Path("odd.json")),
        ),
        (
            store_with(unused(), unread=("/cache",)),
            "what `/cache` uses cannot be read, so everything counts as in use",
        ),
    ],
)
def test_what_may_be_needed_stays_and_it_is_said_why(stored: Inventory, reason: str) -> None:
    planned = garbage.plan(stored)
    assert planned.blobs == ()
    assert [kept.reason for kept in planned.kept] == [reason]


def test_on_shared_file_systems_grace_is_a_week() -> None:
    stored = replace(store_with(unused(idle_days=6)), grace_ns=7 * DAY_NS)
    (kept,) = garbage.plan(stored).kept
    assert kept.reason == "nothing uses it, for less than 7 days"


def test_leftovers_go_when_they_are_dead() -> None:
    dead, young, empty = (
        Leftover("temporary", Path(name), size, NOW - age * DAY_NS, DAY_NS, "left")
        for name, size, age in (("dead", 1, 3), ("young", 2, 1), ("empty", 0, 1))
    )
    planned = garbage.plan(replace(store_with(), leftovers=(dead, young, empty)))
    assert planned.leftovers == (dead,)
    assert [kept.name for kept in planned.kept] == ["young"]


def collect(store: Store) -> Collected:
    return garbage.execute(store, garbage.plan(inventory.take(store)))


def test_only_what_nobody_uses_is_found(store: Store, tmp_path: Path) -> None:
    """One of each: unused, linked, in the hub, in another cache, copied there, added."""
    linked, hub, cache, copied, free = (put(store, bytes([n]) * 5000) for n in range(5))
    os.link(store.path(linked), tmp_path / "link")
    own = store.roots.own_hub()
    other = store.roots.register(tmp_path)
    own.refer([(hub, "in/hub"), (free, "gone")])
    other.refer([(cache, "pointer"), (copied, "copy")])
    (own.directory / "in").mkdir(parents=True)
    (own.directory / "in/hub").write_bytes(bytes([1]) * 5000)
    (tmp_path / "pointer").symlink_to(store.path(cache))
    (tmp_path / "copy").write_bytes(bytes([3]) * 5000)

    found = {blob.digest for blob in inventory.take(store).unused}

    assert found == {copied, free}


def test_a_collection_frees_what_it_planned(store: Store, later: Later) -> None:
    digest = put(store, DATA)
    store.mark_used(digest)
    allocated = store.path(digest).stat().st_blocks * 512
    assert collect(store).bytes_freed == 0
    assert store.has(digest)

    later(1.1)
    planned = garbage.plan(inventory.take(store))
    assert planned.bytes == allocated
    assert collect(store) == Collected(allocated, ())
    assert not store.has(digest)
    assert not list(store.layout.trash.iterdir())


def test_what_is_used_after_the_plan_stays(store: Store, tmp_path: Path, later: Later) -> None:
    stamped, referred, gone = (put(store, bytes([n]) * 5000) for n in range(3))
    later(1.1)
    planned = garbage.plan(inventory.take(store))
    assert len(planned.blobs) == 3
    store.mark_used(stamped)
    store.roots.register(tmp_path).refer([(referred, "pointer")])
    (tmp_path / "pointer").symlink_to(store.path(referred))
    store.path(gone).unlink()

    collected = garbage.execute(store, planned)

    assert {kept.reason for kept in collected.kept} == {
        "it was used just now", f"used by {tmp_path}", "it is gone already",
    }  # fmt: skip
    assert store.has(stamped)
    assert store.has(referred)


def test_a_folder_of_the_store_that_leads_elsewhere_is_not_followed(
    store: Store, tmp_path: Path, later: Later
) -> None:
    """Somebody put a link to another store's shard in the place of one of ours."""
    other = Store.create(tmp_path / "other")
    digest = put(other, DATA)
    for top in (store.layout.blobs / "sha256", store.layout.metas, store.layout.uses):
        shard = top / digest.hex[:2]
        shard.rmdir()
        shard.symlink_to(str(shard).replace(str(store.layout.root), str(other.layout.root)))
    later(30)

    assert collect(store) == Collected(0, ())
    assert other.has_sound(digest)


def test_side_files_without_a_blob_go(store: Store, later: Later) -> None:
    digest, kept = put(store, DATA), put(store, b"stays")
    os.link(store.path(kept), store.layout.root / "user")
    for each in (digest, kept):
        store.mark_used(each)
    store.path(digest).unlink()
    assert collect(store).bytes_freed == 0
    assert store.layout.meta(digest).exists()

    later(1.1)
    collect(store)
    assert not store.layout.meta(digest).exists()
    assert not store.layout.used(digest).exists()
    assert store.layout.meta(kept).exists()
    assert store.layout.used(kept).exists()


def test_a_side_file_written_anew_meanwhile_stays(store: Store, later: Later) -> None:
    """A collector is stopped between its look and its move, and the content is published again."""
    digest = put(store, DATA)
    store.path(digest).unlink()
    later(1.1)
    planned = garbage.plan(inventory.take(store))
    collector = forks.start(lambda: garbage.execute(store, planned), sync="stop:discard:looked")
    collector.stopped()
    store.publish(part(store, DATA), digest, source=SOURCE)
    collector.resume()
    collector.result()

    info = store.info(digest)
    assert info is not None
    assert info.intact is True
    assert info.sources == (SOURCE,)


def test_a_dead_collectors_mark_and_trash_go(store: Store, later: Later) -> None:
    digest = put(store, DATA)
    later(1.1)
    assert forks.start(lambda: collect(store), sync="kill:release:trashed").killed()
    assert list(store.layout.trash.iterdir())
    later(1.1)

    assert collect(store).bytes_freed > 0

    assert not list(store.layout.trash.iterdir())
    assert not list(store.layout.condemned_marks.iterdir())
    assert not store.has(digest)
