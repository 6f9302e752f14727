"""Verification reads every byte and says exactly what is wrong."""

from __future__ import annotations

import os
import random
from pathlib import Path

from modelkeep.store import meta as metas
from modelkeep.store.digest import hash_bytes
from modelkeep.store.store import Store
from modelkeep.store.verify import verify
from tests.filesystems import as_user, need_root, public_directory
from tests.store.support import DATA, flip, put


def test_good_content_is_said_to_be_good(store: Store) -> None:
    digests = [put(store, b"%d" % n * 100) for n in range(20)]
    told: list[int] = []

    report = verify(store, digests, progress=told.append)

    assert report.ok
    assert (report.files, report.bytes) == (20, sum(told))
    assert report.seconds > 0


def test_every_single_flipped_bit_is_found_and_named(store: Store) -> None:
    chance = random.Random(1)
    good = put(store, DATA)
    bad = [put(store, chance.randbytes(200)) for _ in range(50)]
    for digest in bad:
        flip(store.path(digest), chance.randrange(1600))

    report = verify(store, [good, *bad])

    assert not report.ok
    assert {corrupt.digest for corrupt in report.corrupt} == set(bad)
    one = report.corrupt[0]
    assert one.found == hash_bytes(store.path(one.digest).read_bytes(), "sha256")
    assert one.repos == ("org/model",)
    assert one.path == str(store.path(one.digest))


def test_what_was_found_bad_is_marked_until_it_is_good_again(store: Store) -> None:
    digest = put(store, DATA)
    flip(store.path(digest))
    verify(store, [digest])

    info = store.info(digest)
    assert info is not None
    assert info.intact is False
    first = metas.read(store.layout.meta(digest))
    assert first is not None
    assert first.bad_since

    flip(store.path(digest))
    report = verify(store, [digest])
    assert report.ok
    assert report.repaired == (digest,)
    assert verify(store, [digest]).repaired == ()
    info = store.info(digest)
    assert info is not None
    assert info.intact is True


def test_truncated_missing_and_unreadable_are_told_apart(store: Store) -> None:
    short, gone, odd = (put(store, DATA + name) for name in (b"1", b"2", b"3"))
    store.path(short).chmod(0o644)
    os.truncate(store.path(short), 10)
    store.path(gone).unlink()
    store.path(odd).unlink()
    store.path(odd).mkdir()

    report = verify(store, [short, gone, odd])

    assert [corrupt.digest for corrupt in report.corrupt] == [short]
    assert report.missing == (gone,)
    assert [(found.digest, found.path) for found in report.unverifiable] == [
        (odd, str(store.path(odd)))
    ]


def test_a_reader_may_verify_what_it_cannot_mark() -> None:
    need_root()
    with public_directory() as folder:
        store = Store.create(folder / "store")
        digest = put(store, DATA)
        flip(store.path(digest))

        report = as_user(12345, lambda: verify(store, [digest], jobs=1))

        assert len(report.corrupt) == 1
        _mark_is_absent(store.layout.meta(digest))


def _mark_is_absent(side: Path) -> None:
    meta = metas.read(side)
    assert meta is not None
    assert meta.bad_since is None
