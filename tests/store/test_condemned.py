"""Deleting beside consumers: whoever comes second sees what the first has done."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from modelkeep.store import marks
from modelkeep.store.condemned import Released, release
from modelkeep.store.digest import Digest
from modelkeep.store.marks import wait_out
from modelkeep.store.roots import ReferenceIndex
from modelkeep.store.store import Store
from tests import forks
from tests.store.support import DATA, part, put


@pytest.fixture
def blob(store: Store) -> Digest:
    return put(store, DATA)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def collect(store: Store, digest: Digest) -> Released:
    return release(store, digest, ReferenceIndex(store.roots))


def refer(store: Store, digest: Digest, cache: Path) -> Path:
    store.roots.register(cache).refer([(digest, "use")])
    return cache / "use"


def nothing_in_hand(store: Store) -> bool:
    layout = store.layout
    return not list(layout.trash.iterdir()) and not list(layout.condemned_marks.iterdir())


def test_what_nobody_uses_goes_with_all_that_was_known_of_it(store: Store, blob: Digest) -> None:
    store.mark_used(blob)
    allocated = store.path(blob).stat().st_blocks * 512

    released = collect(store, blob)

    assert released == Released(blob, allocated, None)
    for path in (store.path(blob), store.layout.meta(blob), store.layout.used(blob)):
        assert not path.exists()
    assert nothing_in_hand(store)


def test_what_is_gone_already_is_said_to_be(store: Store, blob: Digest) -> None:
    collect(store, blob)
    assert collect(store, blob) == Released(blob, 0, "it is gone already")
    assert nothing_in_hand(store)


@pytest.mark.parametrize("use", ["hard link", "symbolic link", "own hub", "lease"])
def test_what_is_used_stays(store: Store, blob: Digest, cache: Path, use: str) -> None:
    if use == "hard link":
        os.link(store.path(blob), cache / "unregistered")
    elif use == "symbolic link":
        refer(store, blob, cache).symlink_to(store.path(blob))
    elif use == "own hub":
        hub = store.roots.own_hub()
        hub.refer([(blob, "use")])
        hub.directory.mkdir(exist_ok=True)
        (hub.directory / "use").write_bytes(DATA)
    else:
        store.leases.take("org/model", [blob])

    released = collect(store, blob)

    assert released.kept
    assert released.bytes_freed == 0
    assert store.path(blob).read_bytes() == DATA
    assert nothing_in_hand(store)


def test_a_copy_in_another_cache_holds_nothing(store: Store, blob: Digest, cache: Path) -> None:
    refer(store, blob, cache).write_bytes(DATA)

    assert collect(store, blob).kept is None

    assert not store.has(blob)
    assert (cache / "use").read_bytes() == DATA
    assert nothing_in_hand(store)


@pytest.mark.parametrize("step", ["release:condemned", "release:trashed"])
@pytest.mark.parametrize("kind", ["hard link", "symbolic link"])
def test_a_link_made_before_the_look_is_seen(
    store: Store, blob: Digest, cache: Path, step: str, kind: str
) -> None:
    collector = forks.start(lambda: collect(store, blob), sync=f"stop:{step}")
    collector.stopped()
    use = refer(store, blob, cache)
    where = next(store.layout.trash.iterdir()) if step == "release:trashed" else store.path(blob)
    if kind == "hard link":
        os.link(where, use)
    else:
        use.symlink_to(store.path(blob))
    collector.resume()

    assert collector.result().kept

    assert store.path(blob).read_bytes() == DATA
    assert use.read_bytes() == DATA
    info = store.info(blob)
    assert info is not None
    assert info.intact is True
    assert nothing_in_hand(store)


def test_a_consumer_waits_for_the_collector_and_then_misses(
    store: Store, blob: Digest, cache: Path
) -> None:
    collector = forks.start(lambda: collect(store, blob), sync="stop:release:trashed")
    collector.stopped()

    def consume() -> bool:
        refer(store, blob, cache)
        wait_out(store.layout, blob)
        return store.has(blob)

    consumer = forks.start(consume)
    time.sleep(0.2)
    collector.resume()

    assert collector.result().kept is None
    assert consumer.result() is False


def test_the_mark_of_a_dead_collector_is_outlived(
    store: Store, blob: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_LIFETIME_S", 0.2)
    assert forks.start(lambda: collect(store, blob), sync="kill:release:condemned").killed()
    assert store.layout.condemned(blob).exists()

    wait_out(store.layout, blob)

    assert nothing_in_hand(store)
    assert store.has(blob)


def test_a_dead_collectors_work_is_taken_up(
    store: Store, blob: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_LIFETIME_S", 0.2)
    assert forks.start(lambda: collect(store, blob), sync="kill:release:condemned").killed()

    assert collect(store, blob).kept is None
    assert not store.has(blob)


def test_a_mark_from_the_future_is_outlived_too(
    store: Store, blob: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_LIFETIME_S", 0.2)
    mark = store.layout.condemned(blob)
    mark.write_bytes(b"nonce")
    os.utime(mark, (time.time() + 1e6,) * 2)

    wait_out(store.layout, blob)

    assert not mark.exists()


def test_a_collector_stopped_for_too_long_lets_go(
    store: Store, blob: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_LIFETIME_S", 0.2)
    collector = forks.start(lambda: collect(store, blob), sync="stop:release:condemned")
    collector.stopped()
    wait_out(store.layout, blob)
    collector.resume()

    assert collector.result().kept == "the collector was stopped for too long"
    assert store.path(blob).read_bytes() == DATA


def test_what_is_published_anew_meanwhile_keeps_its_side_file(store: Store, blob: Digest) -> None:
    collector = forks.start(lambda: collect(store, blob), sync="stop:release:trashed")
    collector.stopped()
    assert store.publish(part(store, DATA, "again"), blob)
    collector.resume()
    collector.result()

    info = store.info(blob)
    assert info is not None
    assert info.intact is True
    assert nothing_in_hand(store)


def test_an_error_in_the_middle_puts_the_blob_back(
    store: Store, blob: Digest, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = ReferenceIndex(store.roots)
    calls = []

    def failing() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(index, "refresh", failing)

    with pytest.raises(KeyboardInterrupt):
        release(store, blob, index)

    assert store.path(blob).read_bytes() == DATA
    assert nothing_in_hand(store)


def test_racing_collectors_and_consumers_lose_nothing(
    store: Store, blob: Digest, cache: Path
) -> None:
    def consume(number: int) -> int:
        missed = 0
        for turn in range(30):
            use = cache / f"{number}-{turn}"
            store.roots.register(cache).refer([(blob, use.name)])
            while True:
                wait_out(store.layout, blob)
                try:
                    os.link(store.path(blob), use)
                    break
                except FileNotFoundError:
                    missed += 1
                    with suppress(FileNotFoundError):  # taken away again as soon as published
                        store.publish(part(store, DATA, f"part-{number}-{turn}-{missed}"), blob)
            assert use.read_bytes() == DATA
            use.unlink()
        return missed

    def collecting() -> int:
        end = time.monotonic() + 1.0
        freed = 0
        while time.monotonic() < end:
            freed += collect(store, blob).kept is None
        return freed

    forks.together([lambda: consume(1), lambda: consume(2), collecting, collecting])

    assert nothing_in_hand(store)
