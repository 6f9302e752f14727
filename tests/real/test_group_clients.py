"""Stock clients of many users work in one group keep, each with the umask of 022 it came with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.models import TINY, random_bytes
from tests.real.people import Person, Team, team

from modelkeep.store.digest import hash_bytes

pytestmark = pytest.mark.real

FETCH = """
import os
from huggingface_hub import snapshot_download
folder = snapshot_download(REPO, revision=REVISION, allow_patterns=PATTERNS)
result = sorted(os.path.relpath(os.path.join(base, name), folder)
                for base, _, names in os.walk(folder) for name in names)
"""
PROBE = """
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
try:
    hf_hub_download(REPO, "absent.json")
except EntryNotFoundError:
    result = "absent"
"""
REMOVE = """
from huggingface_hub import scan_cache_dir
(repo,) = [repo for repo in scan_cache_dir().repos if repo.repo_id == REPO]
chosen = [each.commit_hash for each in repo.revisions if COMMIT in (None, each.commit_hash)]
scan_cache_dir().delete_revisions(*chosen).execute()
result = [repo.repo_id for repo in scan_cache_dir().repos]
"""
_NUMBERS = itertools.count(100)
ALL = ["config.json", "model.safetensors", "onnx/deep/a.txt"]


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    with team() as made:
        yield made


@pytest.fixture(params=[("ada", "bob"), ("bob", "contained"), ("contained", "cleo")], ids="-".join)
def pair(request: pytest.FixtureRequest, people: Team) -> tuple[Person, Person]:
    """One who came first, and another who comes after him."""
    first, second = request.param
    return getattr(people, first), getattr(people, second)


def fetch(
    person: Person, people: Team, client: str, repo: str, revision: str = "main", *patterns: str
) -> list[str]:
    asked = f"REPO, REVISION, PATTERNS = {repo!r}, {revision!r}, {list(patterns) or None!r}"
    found: list[str] = person.python(people.site, f"{asked}\n{FETCH}", client)
    return found


@dataclass(frozen=True)
class Published:
    """A repo upstream with two commits, and the weights that both have."""

    id: str
    old: str
    new: str
    weights: bytes

    @property
    def folder(self) -> str:
        return f"models--{self.id.replace('/', '--')}"


@pytest.fixture
def repo(people: Team) -> Published:
    """A repo of the test's own."""
    number = next(_NUMBERS)
    weights = random_bytes(1_100_000, number)
    made = people.site.hub.repo(f"org/repo{number}")
    old = made.commit({**TINY, "model.safetensors": weights})
    new = made.commit({"config.json": b"{}"}, update=True)
    return Published(f"org/repo{number}", old, new, weights)


def test_another_gets_what_the_first_did_not(
    people: Team, pair: tuple[Person, Person], client: str, repo: Published
) -> None:
    first, second = pair

    assert fetch(first, people, client, repo.id, repo.old, "*.json") == ["config.json"]
    # the rest of that commit, the other revision, and what is not upstream
    assert fetch(second, people, client, repo.id, repo.old) == ALL
    assert fetch(second, people, client, repo.id) == ALL
    assert fetch(first, people, client, repo.id, repo.new) == ALL
    probe = f"REPO = {repo.id!r}\n{PROBE}"
    assert [each.python(people.site, probe, client) for each in pair] == ["absent", "absent"]


def test_another_removes_what_the_first_fetched(
    people: Team, pair: tuple[Person, Person], client: str, repo: Published
) -> None:
    first, second = pair
    fetch(first, people, client, repo.id)

    left = second.python(people.site, f"REPO, COMMIT = {repo.id!r}, None\n{REMOVE}", client)

    assert repo.id not in left
    assert not list(people.site.cache.glob(repo.folder))


def test_another_settles_what_the_first_fetched(
    people: Team, pair: tuple[Person, Person], client: str, repo: Published
) -> None:
    first, second = pair
    fetch(first, people, client, repo.id)
    assert people.site.unsettled(repo.id) > 1_000_000

    settled = second.modelkeep(people.site, "settle", repo.id)

    assert (settled["files"], settled["skipped"]) == (3, [])
    assert people.site.unsettled(repo.id) == 0
    stored = people.site.keep.store.path(hash_bytes(repo.weights, "sha256"))
    placed = people.site.cache / repo.folder / "blobs" / stored.name
    assert placed.samefile(stored)
    assert stored.stat().st_uid == second.uid
    people.site.hub.clear_log()
    assert fetch(first, people, client, repo.id) == ALL
    assert people.site.fetched() == []
