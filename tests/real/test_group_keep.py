"""Three users and a container whose user nobody knows share one keep, with no chmod by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients import CLIENTS
from tests.filesystems import public_directory, ramfs
from tests.models import TINY, random_bytes
from tests.real.people import Team, team

pytestmark = pytest.mark.real

WEIGHTS = random_bytes(1_500_000, 11)
OTHER = random_bytes(1_200_000, 12)

LOAD = """
import hashlib
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
folder = snapshot_download(REPO)
result = [
    hashlib.sha256(open(hf_hub_download(REPO, "model.safetensors"), "rb").read()).hexdigest(),
    open(folder + "/config.json").read(),
    [str(w) for w in scan_cache_dir().warnings if not str(w).endswith("CACHEDIR.TAG")],
]
"""


@pytest.fixture(scope="module", params=["acl", "no acl"])
def people(request: pytest.FixtureRequest) -> Iterator[Team]:
    """A keep of four, on a file system with ACLs and on one without; shared by the module."""
    if request.param == "acl":
        with team() as made:
            yield made
    else:
        with public_directory() as base, ramfs(base) as mount, team(mount) as made:
            yield made


def publish(people: Team, *names: str) -> None:
    """Repos upstream that have their weights in common and a file of their own."""
    for name in names:
        people.site.hub.repo(f"org/{name}").commit(
            {**TINY, "model.safetensors": WEIGHTS, "config.json": name.encode()}
        )


def blobs(people: Team) -> list[Path]:
    return sorted((people.site.keep.directory / "store/blobs").rglob("?" * 40 + "*"))


def test_each_pulls_and_loads_what_others_pulled(people: Team) -> None:
    names = ["ada", "bob", "cleo", "contained"]
    publish(people, *names)
    whole = len(WEIGHTS) + 1
    for number, (person, name) in enumerate(zip(people.all, names, strict=True)):
        (pulled,) = person.modelkeep(people.site, "pull", f"org/{name}")["repos"]
        expected = (0 if number else whole) + len(name)
        assert (pulled["bytes_fetched"], pulled["bytes_stored"]) == (expected, expected)
        assert pulled["modes"].get("copy") == 2  # what people edit; the weights are never copied

    for version in CLIENTS:
        for person, name in zip(people.all, reversed(names), strict=True):
            for offline in (True, False):
                load = f"REPO = 'org/{name}'\n{LOAD}"
                got = person.python(people.site, load, version, offline=offline)
                assert got[1:] == [name, []]

    assert len({blob.lstat().st_ino for blob in blobs(people)}) == len(names) + 2
