"""Content gets its name once, after it was hashed and sealed, and keeps what is known about it."""

from __future__ import annotations

import json
import os
import stat
from functools import partial
from pathlib import Path

import pytest

from modelkeep.errors import CorruptError, SettingsError, UnknownFormatError
from modelkeep.store import meta as metas
from modelkeep.store.digest import hash_bytes
from modelkeep.store.meta import Source
from modelkeep.store.store import Store
from tests import forks
from tests.store.support import DATA, SOURCE, flip, part, put

DIGEST = hash_bytes(DATA, "sha256")


def test_published_content_is_named_sealed_and_described(store: Store) -> None:
    file = part(store, DATA)

    assert store.publish(file, DIGEST, source=SOURCE, xet_hash="x")

    blob = store.path(DIGEST)
    assert blob.read_bytes() == DATA
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    assert not file.exists()
    info = store.info(DIGEST)
    assert info is not None
    assert (info.size, info.links, info.intact, info.sources) == (len(DATA), 1, True, (SOURCE,))
    meta = metas.read(store.layout.meta(DIGEST))
    assert meta is not None
    assert meta.xet_hash == "x"
    assert dict(store.blobs()).keys() == {DIGEST}


def test_what_is_there_already_stays_and_learns_the_source(store: Store) -> None:
    put(store, DATA)
    inode = store.path(DIGEST).stat().st_ino
    other = Source("org/other", "d" * 40, "model.bin", None)

    assert not store.publish(part(store, DATA), DIGEST, source=other)

    assert store.path(DIGEST).stat().st_ino == inode
    info = store.info(DIGEST)
    assert info is not None
    assert set(info.sources) == {SOURCE, other}
    assert info.intact is True
    assert not list(store.layout.tmp.glob("part*"))


def test_wrong_bytes_get_no_name_and_stay_where_they_are(store: Store) -> None:
    file = part(store, DATA[:-1])

    with pytest.raises(CorruptError) as caught:
        store.publish(file, DIGEST)

    assert caught.value.expected == str(DIGEST)
    assert caught.value.got == str(hash_bytes(DATA[:-1], "sha256"))
    assert file.read_bytes() == DATA[:-1]
    assert not store.has(DIGEST)
    assert store.info(DIGEST) is None


def test_an_empty_file_is_content_too(store: Store) -> None:
    digest = put(store, b"", "git-sha1")
    assert store.path(digest).read_bytes() == b""


def test_eight_publishers_of_one_content_leave_one_inode_that_is_described(store: Store) -> None:
    def publish(number: int) -> bool:
        source = Source(f"org/r{number}", "c" * 40, "f", None)
        return store.publish(part(store, DATA, f"part{number}"), DIGEST, source=source)

    new = forks.together([partial(publish, number) for number in range(8)])

    assert sum(new) == 1
    info = store.info(DIGEST)
    assert info is not None
    assert (info.links, info.intact) == (1, True)
    assert [path.name for path in store.layout.tmp.iterdir()] == ["fetch"]


def test_a_flipped_bit_with_old_times_is_found_by_hashing_alone(store: Store) -> None:
    put(store, DATA)
    flip(store.path(DIGEST))

    store.describe(DIGEST, SOURCE)  # trusts size, time and inode
    info = store.info(DIGEST)

    assert info is not None
    assert info.intact is True


def test_changed_bytes_are_found_when_next_described(store: Store) -> None:
    put(store, DATA)
    flip(store.path(DIGEST))
    os.utime(store.path(DIGEST))

    info = store.info(DIGEST)
    assert info is not None
    assert info.intact is False
    with pytest.raises(CorruptError):
        store.describe(DIGEST, SOURCE)


def test_a_new_time_alone_costs_a_hash_and_no_more(store: Store) -> None:
    put(store, DATA)
    os.utime(store.path(DIGEST))

    store.describe(DIGEST, None)

    info = store.info(DIGEST)
    assert info is not None
    assert info.intact is True
    assert info.sources == (SOURCE,)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"size": "x"}', "\x00"])
def test_a_damaged_side_file_is_written_anew(store: Store, text: str) -> None:
    put(store, DATA)
    store.layout.meta(DIGEST).write_text(text)

    info = store.info(DIGEST)
    assert info is not None
    assert info.intact is None
    store.describe(DIGEST, SOURCE)

    info = store.info(DIGEST)
    assert info is not None
    assert (info.intact, info.sources) == (True, (SOURCE,))


def test_last_use_is_a_stamp(store: Store) -> None:
    put(store, DATA)
    assert store.last_used(DIGEST) is None

    store.mark_used(DIGEST)
    os.utime(store.layout.used(DIGEST), (1, 1))
    store.mark_used(DIGEST)

    used = store.last_used(DIGEST)
    assert used is not None
    assert used > 1


def test_strangers_among_the_blobs_are_passed_over(store: Store) -> None:
    put(store, DATA)
    (store.layout.blobs / "sha256" / "note.txt").write_text("x")
    (store.path(DIGEST).parent / "note.txt").write_text("x")
    wrong_shard = store.layout.blobs / "sha256" / "00" / ("f" * 64)
    wrong_shard.write_text("x")

    assert [digest for digest, _ in store.blobs()] == [DIGEST]


def test_a_store_is_made_once(tmp_path: Path) -> None:
    one = Store.create(tmp_path / "store")
    assert Store.create(tmp_path / "store").id == one.id


def test_creators_at_the_same_time_agree_on_one_store(tmp_path: Path) -> None:
    ids = forks.together([lambda: Store.create(tmp_path / "store").id] * 4)
    assert set(ids) == {Store.open(tmp_path / "store").id}


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_is_refused_and_left_alone(store: Store, version: object) -> None:
    header = json.loads(store.layout.header.read_text()) | {"format": version}
    store.layout.header.write_text(json.dumps(header))

    with pytest.raises(UnknownFormatError):
        Store.open(store.layout.root)

    assert json.loads(store.layout.header.read_text()) == header


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"format": 1}', "\xff"])
def test_a_damaged_header_is_named(store: Store, text: str) -> None:
    store.layout.header.write_bytes(text.encode("latin-1"))

    with pytest.raises(SettingsError) as caught:
        Store.open(store.layout.root)

    assert caught.value.path == str(store.layout.header)


def test_there_is_no_store_where_there_is_no_header(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Store.open(tmp_path)
