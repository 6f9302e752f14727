"""A damaged blob heals in its own inode, whenever the same content is published again."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from modelkeep.errors import CorruptError
from modelkeep.store import meta as metas
from modelkeep.store.digest import Digest
from modelkeep.store.heal import Healed, heal
from modelkeep.store.store import Store
from modelkeep.store.taking import Outcome, take
from modelkeep.store.verify import verify
from tests import forks
from tests.filesystems import as_user, need_root, public_directory
from tests.store.support import DATA, SOURCE, flip, part, put


def damaged(store: Store, data: bytes = DATA) -> Digest:
    digest = put(store, data)
    flip(store.path(digest))
    verify(store, [digest], jobs=1)
    return digest


def is_healed(store: Store, digest: Digest, data: bytes = DATA) -> None:
    blob = store.path(digest)
    assert blob.read_bytes() == data
    assert blob.stat().st_mode & 0o777 == 0o444
    info = store.info(digest)
    assert info is not None
    assert info.intact is True
    assert SOURCE in info.sources


def test_every_link_heals_at_once_and_the_bad_bytes_are_kept(store: Store, tmp_path: Path) -> None:
    digest = damaged(store)
    blob, elsewhere = store.path(digest), tmp_path / "link"
    bad = blob.read_bytes()
    os.link(blob, elsewhere)
    inode = blob.stat().st_ino
    fresh = part(store, DATA)

    assert store.publish(fresh, digest, source=SOURCE)

    is_healed(store, digest)
    assert blob.stat().st_ino == inode
    assert elsewhere.read_bytes() == DATA
    assert not fresh.exists()
    (kept,) = store.layout.trash.iterdir()
    assert kept.name.endswith(digest.file_name)
    assert kept.read_bytes() == bad
    assert kept.stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("size", [0, 10, len(DATA) + 99])
def test_a_blob_of_another_size_heals(store: Store, size: int) -> None:
    digest = put(store, DATA)
    store.path(digest).chmod(0o644)
    os.truncate(store.path(digest), size)
    assert not store.has_sound(digest)

    store.publish(part(store, DATA), digest, source=SOURCE)

    is_healed(store, digest)


def test_a_change_that_describing_finds_is_marked(store: Store) -> None:
    digest = put(store, DATA)
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(DATA[::-1])

    with pytest.raises(CorruptError) as caught:
        store.describe(digest, None)

    assert "modelkeep pull org/model" in str(caught.value.hint)
    assert metas.is_marked(store.layout.meta(digest))
    assert not store.has_sound(digest)


def test_bad_bytes_heal_nothing(store: Store) -> None:
    digest = damaged(store)
    before = store.path(digest).read_bytes()

    with pytest.raises(CorruptError):
        store.publish(part(store, b"other"), digest)

    assert store.path(digest).read_bytes() == before
    assert not list(store.layout.trash.iterdir())


def test_what_is_good_is_not_written(store: Store) -> None:
    digest = put(store, DATA)
    before = store.path(digest).stat()

    assert heal(store.layout, digest, part(store, DATA)) is Healed.BY_OTHERS

    assert store.path(digest).stat().st_mtime_ns == before.st_mtime_ns


def test_what_a_client_brought_heals_too(store: Store, tmp_path: Path) -> None:
    digest = damaged(store)
    brought = tmp_path / "brought"
    brought.write_bytes(DATA)

    assert take(store, brought, digest, SOURCE).outcome is Outcome.TAKEN

    is_healed(store, digest)
    assert brought.read_bytes() == DATA


def test_another_users_inode_is_replaced() -> None:
    need_root()
    with public_directory() as folder:
        store = Store.create(folder / "store", "group")
        for path in (store.layout.root, *store.layout.root.rglob("*")):
            if path.is_dir():
                path.chmod(0o777)
        digest = damaged(store)
        inode = store.path(digest).stat().st_ino

        def publish() -> bool:
            return store.publish(part(store, DATA, "mine"), digest, source=SOURCE)

        assert as_user(12345, publish)
        is_healed(store, digest)
        assert store.path(digest).stat().st_ino != inode


def test_killed_at_any_step_it_stays_marked_until_the_next_healing(
    store: Store, tmp_path: Path
) -> None:
    def again(data: bytes, digest: Digest) -> bool:
        return store.publish(part(store, data, f"again-{digest.hex}"), digest, source=SOURCE)

    first = damaged(store)
    steps = forks.steps(partial(again, DATA, first), tmp_path / "steps.log")
    assert {"heal:marked", "heal:rewriting", "heal:rewritten"} <= {
        step.partition("#")[0] for step in steps
    }
    for number, step in enumerate(steps):
        data = DATA + b"%d" % number
        digest = damaged(store, data)
        store.path(digest).chmod(0o644)
        with store.path(digest).open("ab") as file:
            file.write(b"more")
        inode = store.path(digest).stat().st_ino

        assert forks.start(partial(again, data, digest), sync=f"kill:{step}").killed(), step

        assert not store.has_sound(digest) or store.path(digest).read_bytes() == data, step
        assert store.path(digest).stat().st_mode & 0o777 in (0o444, 0o644)
        forks.run(partial(again, data, digest))
        is_healed(store, digest, data)
        assert store.path(digest).stat().st_ino == inode, step
    assert verify(store, [digest for digest, _ in store.blobs()], jobs=1).ok


def test_healers_at_the_same_time_agree(store: Store) -> None:
    digest = damaged(store, DATA * 200)

    def publish(number: int) -> bool:
        return store.publish(part(store, DATA * 200, f"p{number}"), digest, source=SOURCE)

    children = [forks.start(partial(publish, number)) for number in range(6)]
    for child in children:
        child.result()

    is_healed(store, digest, DATA * 200)
