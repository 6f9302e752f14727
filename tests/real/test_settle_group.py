"""In a group keep, whoever settles takes in what the others' clients brought, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.keeping import content
from tests.models import random_bytes
from tests.real.people import Team, team

pytestmark = pytest.mark.real

FILES = {"config.json": b"{}", "model.safetensors": random_bytes(1_500_000, 41), "a/b.txt": b"b"}
SIZE = sum(map(len, FILES.values()))
LOAD = """
from huggingface_hub import scan_cache_dir, snapshot_download
result = [snapshot_download(REPO), [str(w) for w in scan_cache_dir().warnings]]
"""


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    with team() as made:
        yield made


def test_ones_own_is_shared_and_anothers_is_replaced(people: Team) -> None:
    site = people.site
    for name in ("one", "two"):
        site.hub.repo(f"org/{name}").commit({**FILES, "config.json": name.encode()})
    one = Path(people.ada.python(site, f"REPO = 'org/one'\n{LOAD}")[0])
    two = Path(people.bob.python(site, f"REPO = 'org/two'\n{LOAD}")[0])
    assert (one / "model.safetensors").stat().st_uid == people.ada.uid
    assert (two / "model.safetensors").stat().st_uid == people.bob.uid

    settled = people.ada.modelkeep(site, "settle")

    assert (settled["files"], settled["skipped"], settled["corrupt"]) == (6, [], [])
    assert settled["bytes_freed"] >= len(FILES["model.safetensors"])  # Bob's is there once less
    assert (one / "model.safetensors").samefile(two / "model.safetensors")
    assert people.bob.modelkeep(site, "settle")["files"] == 0
    assert people.cleo.modelkeep(site, "verify")["corrupt"] == []
    for person in people.all:
        for name, top in (("one", one), ("two", two)):
            found = person.python(site, f"REPO = 'org/{name}'\n{LOAD}", offline=True)
            assert found[0] == str(top)
            assert content(top) == {**FILES, "config.json": name.encode()}


def test_what_only_another_has_is_copied_once(people: Team) -> None:
    site = people.site
    weights = random_bytes(1_300_000, 42)
    site.hub.repo("org/three").commit({"config.json": b"3", "model.safetensors": weights})
    top = Path(people.contained.python(site, f"REPO = 'org/three'\n{LOAD}")[0])

    settled = people.cleo.modelkeep(site, "settle", "org/three")

    assert (settled["files"], settled["skipped"], settled["bytes_freed"]) == (2, [], 0)
    assert (top / "model.safetensors").stat().st_uid == people.cleo.uid
    assert people.contained.python(site, f"REPO = 'org/three'\n{LOAD}", offline=True)[0] == str(top)
    (repo,) = people.ada.modelkeep(site, "show", "org/three")["repos"]
    assert repo["bytes_unsettled"] == 0
