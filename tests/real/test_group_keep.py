"""Three users and a container whose user nobody knows share one keep, with no chmod by hand."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.clients import CLIENTS
from tests.filesystems import as_user, public_directory, ramfs
from tests.models import TINY, random_bytes
from tests.real.people import GROUP, Team, team
from tests.real.site import NEWEST

from modelkeep.hub.fetch.partials import open_partial
from modelkeep.store.digest import hash_bytes

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


def publish(people: Team, *names: str, weights: bytes = WEIGHTS) -> Path:
    """Make repos upstream that have their weights in common and a file of their own.

    Returns where the keep has the weights once they are pulled.
    """
    for name in names:
        people.site.hub.repo(f"org/{name}").commit(
            {**TINY, "model.safetensors": weights, "config.json": name.encode()}
        )
    return people.site.keep.store.path(hash_bytes(weights, "sha256"))


def blobs(people: Team) -> list[Path]:
    return sorted((people.site.keep.directory / "store/blobs").rglob("?" * 40 + "*"))


def flip(path: Path) -> None:
    """Damage a file at rest, as a disk does."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def in_hub(people: Team, name: str, stored: Path) -> Path:
    return people.site.cache / f"models--org--{name}/blobs/{stored.name}"


def closed_to_the_group(people: Team) -> list[str]:
    """What modelkeep made that some member could not use as he must."""
    layout = people.site.keep.store.layout
    fixed = set(layout.fixed())
    found = []
    for base, folders, names in os.walk(people.site.keep.directory):
        for path in (Path(base, name) for name in [*folders, *names]):
            status = path.lstat()
            unfinished = path.is_relative_to(layout.partials) and path.is_file()
            if path.is_symlink() or unfinished:
                continue
            wanted = 0o444 if path.is_file() else 0o755 if path in fixed else 0o2775
            if status.st_mode & wanted != wanted or status.st_gid != GROUP:
                found.append(f"{path} {status.st_mode:o} {status.st_uid}:{status.st_gid}")
    return found


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
            for offline in (True, False) if version == NEWEST else (True,):
                load = f"REPO = 'org/{name}'\n{LOAD}"
                got = person.python(people.site, load, version, offline=offline)
                assert got[1:] == [name, []]

    assert len({blob.lstat().st_ino for blob in blobs(people)}) == len(names) + 2


def test_what_is_made_is_for_the_group(people: Team) -> None:
    publish(people, "modes")
    people.bob.modelkeep(people.site, "pull", "org/modes")

    assert closed_to_the_group(people) == []
    store = people.site.keep.store
    assert {stat.S_IMODE(blob.lstat().st_mode) for blob in blobs(people)} == {0o444}
    for path in store.layout.uses.glob("*/*"):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o666
    for path in store.layout.locks.iterdir():
        assert stat.S_IMODE(path.lstat().st_mode) == 0o666
    for path in store.layout.roots.glob("*/refs"):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o664
    for path in people.site.cache.glob("*/trees/*.json"):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o644


def test_each_removes_what_others_pulled_and_its_space_comes_back(people: Team) -> None:
    weights = random_bytes(1_100_000, 21)
    pairs = zip(people.all, (*people.all[1:], people.all[0]), strict=True)
    for number, (puller, remover) in enumerate(pairs):
        stored = publish(people, f"gone{number}", weights=weights)
        puller.modelkeep(people.site, "pull", f"org/gone{number}")
        assert stored.stat().st_uid == puller.uid

        removed = remover.modelkeep(people.site, "rm", f"org/gone{number}")

        assert removed["bytes_freed"] >= len(weights)
        assert not stored.exists()
        assert not (people.site.cache / f"models--org--gone{number}").exists()


def test_each_makes_room_of_what_others_pulled(people: Team) -> None:
    weights = random_bytes(1_100_000, 22)
    pairs = zip(people.all, (*people.all[1:], people.all[0]), strict=True)
    for number, (puller, collector) in enumerate(pairs):
        stored = publish(people, f"room{number}", weights=weights)
        puller.modelkeep(people.site, "pull", f"org/room{number}")

        gone = collector.modelkeep(people.site, "gc", "--match", f"room{number}")

        assert gone["bytes_freed"] >= len(weights)
        assert not stored.exists()


def test_each_links_to_a_cache_of_his_own(people: Team) -> None:
    publish(people, "linked", weights=random_bytes(1_100_000, 23))
    people.ada.modelkeep(people.site, "pull", "org/linked")
    for person in people.all:
        into = person.home / "hub"
        linked = person.modelkeep(people.site, "link", "org/linked", "--into", into)
        large = "hardlink" if person is people.ada else "copy"
        assert linked["modes"] == {"reflink": 0, "symlink": 0, **linked["modes"]}
        assert linked["modes"][large] >= 1
        (weights,) = into.glob("models--org--linked/snapshots/*/model.safetensors")
        assert weights.read_bytes() == random_bytes(1_100_000, 23)


def test_each_adds_and_others_load_it(people: Team) -> None:
    for person, other in zip(people.all, reversed(people.all), strict=True):
        folder = person.home / "trained"
        folder.mkdir()
        (folder / "config.json").write_bytes(b"{}")
        (folder / "model.safetensors").write_bytes(random_bytes(1_100_000, person.uid))

        person.modelkeep(people.site, "add", folder, "--as", f"team/{person.uid}")

        got = other.python(people.site, f"REPO = 'team/{person.uid}'\n{LOAD}", offline=True)
        assert got[0] == hash_bytes(random_bytes(1_100_000, person.uid), "sha256").hex


def test_what_one_pinned_another_lets_go(people: Team) -> None:
    publish(people, "pinned", weights=random_bytes(1_100_000, 24))
    people.ada.modelkeep(people.site, "pull", "org/pinned")
    people.contained.modelkeep(people.site, "pin", "org/pinned")

    people.bob.modelkeep(people.site, "rm", "org/pinned", code=3)
    people.cleo.modelkeep(people.site, "unpin", "org/pinned")

    people.bob.modelkeep(people.site, "rm", "org/pinned")


def test_a_blob_of_another_is_healed(people: Team) -> None:
    weights = random_bytes(1_100_000, 25)
    stored = publish(people, "damaged", "fine", weights=weights)
    people.ada.modelkeep(people.site, "pull", "org/damaged")
    flip(stored)
    people.bob.modelkeep(people.site, "verify", "org/damaged", code=1)

    people.bob.modelkeep(people.site, "pull", "org/fine")

    assert stored.read_bytes() == in_hub(people, "fine", stored).read_bytes() == weights
    assert stored.stat().st_uid == people.bob.uid
    assert stat.S_IMODE(stored.stat().st_mode) == 0o444


def test_what_one_left_half_fetched_another_removes(people: Team) -> None:
    partials, digest = people.site.keep.store.layout.partials, hash_bytes(b"half", "sha256")

    def begin() -> None:
        os.umask(0o077)
        open_partial(partials, digest, 1000, locked=True).close()

    as_user(people.ada.uid, begin, gid=GROUP)
    (left,) = partials.iterdir()
    with pytest.raises(PermissionError):  # what came by one user's token is not another's yet
        as_user(people.bob.uid, (left / "content").read_bytes, gid=GROUP)

    as_user(people.bob.uid, lambda: shutil.rmtree(left), gid=GROUP)

    assert not left.exists()


def test_all_pull_the_same_at_once(people: Team) -> None:
    weights = random_bytes(3_000_000, 26)
    stored = publish(people, "race", weights=weights)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(one.modelkeep, people.site, "pull", "org/race") for one in people.all]
    fetched = [each.result()["repos"][0]["bytes_fetched"] for each in done]
    assert sum(fetched) == len(weights) + len(b"race")
    assert stored.read_bytes() == weights
