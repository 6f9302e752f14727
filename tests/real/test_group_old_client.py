"""What removals by stock clients do to the links by which members share each other's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.filesystems import loop, public_directory
from tests.models import TINY, random_bytes
from tests.real.people import Team, team
from tests.real.site import NEWEST

from modelkeep.store.digest import hash_bytes

pytestmark = pytest.mark.real

WEIGHTS = random_bytes(1_100_000, 41)
OLD = "0.36.2"

REMOVE = """
from huggingface_hub import scan_cache_dir
scan_cache_dir().delete_revisions(COMMIT).execute()
"""
LOAD = """
import os
from huggingface_hub import hf_hub_download
path = hf_hub_download(REPO, "model.safetensors")
result = os.path.getsize(path)
"""


@pytest.fixture
def people() -> Iterator[Team]:
    with team() as made:
        fill(made)
        yield made


@pytest.fixture
def with_reflinks() -> Iterator[Team]:
    with public_directory() as base, loop(base, "xfs") as mount, team(mount) as made:
        fill(made)
        yield made


def fill(people: Team) -> None:
    """Let Ada have the inode of the weights, and Bob what is placed of it: in two repos."""
    ada, bob, other = (people.site.hub.repo(f"org/{name}") for name in ("ada", "bob", "other"))
    for repo in (ada, bob, other):
        repo.commit({**TINY, "model.safetensors": WEIGHTS, "config.json": repo.id.encode()})
    people.ada.modelkeep(people.site, "pull", "org/ada")
    people.bob.modelkeep(people.site, "pull", "org/bob", "org/other")
    bob.commit({**TINY, "model.safetensors": b"newer"})
    people.bob.modelkeep(people.site, "pull", "org/bob")


@pytest.fixture
def stored(people: Team) -> Path:
    return people.site.keep.store.path(hash_bytes(WEIGHTS, "sha256"))


def remove_former(people: Team, client: str) -> None:
    """Let Cleo's client remove the former commit of Bob's repo."""
    listed = people.site.keep.show("org/bob").repos[0]
    (former,) = {each.commit for each in listed.revisions} - {listed.refs["main"]}
    people.cleo.python(people.site, f"COMMIT = {former!r}\n{REMOVE}", client)


def loads(people: Team, repo: str) -> bool:
    size = people.cleo.python(people.site, f"REPO = {repo!r}\n{LOAD}", offline=True)
    return bool(size == len(WEIGHTS))


@pytest.mark.parametrize("client", ["1.33.0", NEWEST])
def test_newer_clients_remove_the_link(people: Team, stored: Path, client: str) -> None:
    remove_former(people, client)

    assert stored.exists()
    assert loads(people, "org/other")


def test_an_old_client_removes_the_store_s_name_and_settling_brings_it_back(
    people: Team, stored: Path
) -> None:
    remove_former(people, OLD)

    assert not stored.exists()
    assert loads(people, "org/ada")
    (other,) = people.site.keep.show("org/other").repos
    assert other.revisions[0].complete is False
    people.site.hub.clear_log()
    people.cleo.modelkeep(people.site, "settle")
    assert loads(people, "org/other")
    assert loads(people, "org/ada")
    assert people.site.fetched() == []
    held = people.site.cache.glob(f"*/blobs/{stored.name}")
    assert {path.stat().st_ino for path in held} == {stored.stat().st_ino}


def test_an_old_client_does_no_harm_where_there_are_reflinks(with_reflinks: Team) -> None:
    stored = with_reflinks.site.keep.store.path(hash_bytes(WEIGHTS, "sha256"))
    remove_former(with_reflinks, OLD)

    assert stored.exists()
    assert loads(with_reflinks, "org/other")
    (placed,) = with_reflinks.site.cache.glob(f"models--org--other/blobs/{stored.name}")
    assert not placed.is_symlink()


def test_where_no_other_name_is_left_a_pull_brings_all_back(people: Team, stored: Path) -> None:
    people.ada.modelkeep(people.site, "rm", "org/ada")
    remove_former(people, OLD)
    assert not stored.exists()

    people.ada.modelkeep(people.site, "pull", "org/ada")

    assert loads(people, "org/other")
