"""A reference lives while its path is there, or might be: unknown means alive."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from modelkeep.store.digest import hash_bytes
from modelkeep.store.roots import ReferenceIndex, Root
from modelkeep.store.store import Store
from tests import forks

ONE, TWO = hash_bytes(b"one", "sha256"), hash_bytes(b"two", "git-sha1")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def using(store: Store, cache: Path, path: str = "blobs/one") -> Root:
    """A cache that uses ONE."""
    root = store.roots.register(cache)
    root.refer([(ONE, path)])
    (cache / path).parent.mkdir(parents=True, exist_ok=True)
    (cache / path).write_bytes(b"one")
    return root


def alive(store: Store) -> bool:
    return ReferenceIndex(store.roots).alive(ONE, store.layout.blob(ONE)) is not None


def changed(root: Root, store: Store, **fields: object) -> None:
    file = store.layout.roots / root.id / "root.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def test_the_same_cache_is_one_root_whatever_its_name(store: Store, cache: Path) -> None:
    link = cache.with_name("link")
    link.symlink_to(cache)

    assert store.roots.register(cache).id == store.roots.register(link).id
    assert store.roots.register(cache).id != store.roots.register(cache / "sub").id


def test_the_own_hub_moves_with_its_store(store: Store, tmp_path: Path) -> None:
    (store.layout.root.parent / "hub").mkdir()
    root = store.roots.own_hub()
    root.refer([(ONE, "models--o--m/blobs/one")])

    moved = tmp_path / "moved"
    moved.mkdir()
    store.layout.root.rename(moved / "store")

    assert Store.open(moved / "store").roots.own_hub().directory == moved / "hub"


def test_the_own_hub_is_itself_through_a_link_to_the_keep(store: Store, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    store.roots.own_hub()
    link = tmp_path / "link"
    link.symlink_to(tmp_path)

    assert Store.open(link / "store").roots.register(link / "hub").id == "hub"


def test_a_reference_lives_as_long_as_its_path(store: Store, cache: Path) -> None:
    using(store, cache)
    assert alive(store)

    (cache / "blobs/one").unlink()
    assert not alive(store)


def test_a_link_lives_even_if_it_leads_nowhere_just_now(store: Store, cache: Path) -> None:
    using(store, cache)
    (cache / "blobs/one").unlink()
    (cache / "blobs/one").symlink_to("in-the-trash")

    assert alive(store)


def held(store: Store) -> Path:
    """ONE as a blob of the store."""
    blob = store.layout.blob(ONE)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"one")
    return blob


def test_a_copy_in_another_cache_needs_no_blob(store: Store, cache: Path) -> None:
    using(store, cache)
    assert alive(store)  # the blob cannot be looked at

    held(store)
    assert not alive(store)


def test_a_hard_link_and_a_symbolic_link_in_another_cache_need_the_blob(
    store: Store, cache: Path
) -> None:
    using(store, cache)
    blob, used = held(store), cache / "blobs/one"
    used.unlink()
    used.hardlink_to(blob)
    assert alive(store)

    used.unlink()
    used.symlink_to(blob)
    assert alive(store)


def test_a_copy_in_the_own_hub_is_a_use(store: Store) -> None:
    root = store.roots.own_hub()
    root.refer([(ONE, "one")])
    held(store)
    root.directory.mkdir(exist_ok=True)
    (root.directory / "one").write_bytes(b"one")

    assert alive(store)


@pytest.mark.parametrize("field", ["host", "mount_namespace"])
def test_a_copy_at_the_same_path_of_another_machine_proves_nothing(
    store: Store, cache: Path, field: str
) -> None:
    root = using(store, cache)
    held(store)
    changed(root, store, **{field: "another"})

    assert alive(store)


def test_a_cache_that_vanished_here_is_gone(store: Store, cache: Path) -> None:
    using(store, cache)
    shutil.rmtree(cache)
    assert not alive(store)


@pytest.mark.parametrize("field", ["host", "mount_namespace"])
def test_a_path_missing_here_proves_nothing_of_another_machine(
    store: Store, cache: Path, field: str
) -> None:
    root = using(store, cache)
    shutil.rmtree(cache)
    changed(root, store, **{field: "another"})

    assert alive(store)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"path": 3, "host": "x"}', None])
def test_a_root_whose_place_is_unknown_keeps_what_it_uses(
    store: Store, cache: Path, text: str | None
) -> None:
    root = using(store, cache)
    shutil.rmtree(cache)
    file = store.layout.roots / root.id / "root.json"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)

    assert alive(store)


def test_a_root_whose_references_cannot_be_read_may_use_anything(store: Store, cache: Path) -> None:
    root = store.roots.register(cache)
    (store.layout.roots / root.id / "refs").mkdir()

    assert alive(store)


def test_torn_and_foreign_lines_are_passed_over(store: Store, cache: Path) -> None:
    root = using(store, cache)
    refs = store.layout.roots / root.id / "refs"
    refs.write_bytes(b"sha256:12\nnonsense\n\xff\xfe\n" + refs.read_bytes() + str(ONE).encode())

    root.refer([(TWO, "blobs/two")])

    found, _ = root.references()
    assert [(reference.digest, reference.path) for reference in found] == [
        (ONE, "blobs/one"),
        (ONE, ""),
        (TWO, "blobs/two"),
    ]


def test_a_path_may_hold_what_only_some_take_for_the_end_of_a_line(
    store: Store, cache: Path
) -> None:
    odd = "blobs/a\u2028b\x0bc\x85d"
    using(store, cache, odd)
    found, _ = store.roots.register(cache).references()
    assert [reference.path for reference in found] == [odd]


def test_a_newline_in_a_path_is_refused(store: Store, cache: Path) -> None:
    with pytest.raises(ValueError, match="newline"):
        store.roots.register(cache).refer([(ONE, "a\nb")])


def test_an_index_takes_in_what_was_appended_since(store: Store, cache: Path) -> None:
    index = ReferenceIndex(store.roots)
    assert index.alive(ONE, store.layout.blob(ONE)) is None

    using(store, cache)
    index.refresh()

    assert index.alive(ONE, store.layout.blob(ONE)) is not None
    assert index.alive(ONE, store.layout.blob(ONE), besides=[cache / "blobs/one"]) is None


def test_appenders_never_tear_each_others_lines(store: Store, cache: Path) -> None:
    root = store.roots.register(cache)

    def append(number: int) -> None:
        for line in range(20):
            root.refer([(ONE, f"{number}/{line}"), (TWO, f"{number}/{line}")])

    forks.together([partial(append, number) for number in range(6)])

    found, _ = root.references()
    assert len(found) == 6 * 20 * 2
    assert len({(r.digest, r.path) for r in found}) == 6 * 20 * 2


def test_members_of_a_group_append_to_each_others_references(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        store = Store.create(tmp_path / "shared", "group")
        store.roots.own_hub().refer([(ONE, "x")])
    finally:
        os.umask(old)
    mode = (store.layout.roots / "hub" / "refs").stat().st_mode
    assert mode & 0o060 == 0o060
