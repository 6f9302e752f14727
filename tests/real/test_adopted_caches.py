"""Caches that stock clients filled are adopted, and stock clients notice nothing but the space."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.caches import disk_bytes, picture
from tests.clients import CLIENTS, run_client
from tests.filesystems import as_user, loop, need_root, public_directory, unavailable
from tests.hub import Hub
from tests.models import random_bytes
from tests.real.site import NEWEST, NO_NETWORK

from modelkeep.errors import AccessError, NoSpaceError
from modelkeep.hub.adopt.plan import Adopted
from modelkeep.keep import Keep

pytestmark = pytest.mark.real

MIB = 1 << 20
COMMON = random_bytes(6 * MIB, 1)
FILES = {
    "org/base": {"config.json": b'{"a": 1}', "model.safetensors": COMMON},
    "org/a": {"config.json": b'{"a": 2}', "model.safetensors": random_bytes(4 * MIB, 2)},
    "org/fork": {"config.json": b'{"a": 1}', "deep/weights.bin": COMMON},
    "org/b": {"config.json": b'{"a": 3}', "model.safetensors": random_bytes(4 * MIB, 3)},
}
IN_A, IN_B = ("org/base", "org/a"), ("org/fork", "org/b")
DISTINCT = {data for files in FILES.values() for data in files.values()}

LOAD = """
import hashlib, os
from huggingface_hub import snapshot_download
result = {}
for repo in REPOS:
    top = snapshot_download(repo)
    for base, _, names in os.walk(top):
        for name in names:
            path = os.path.join(base, name)
            shown = repo + "/" + os.path.relpath(path, top)
            result[shown] = hashlib.sha256(open(path, "rb").read()).hexdigest()
"""


def load(client: str, cache: Path | None, repos: tuple[str, ...], **options: object) -> object:
    env = {"HF_HUB_OFFLINE": "1"} | ({"HF_HUB_CACHE": str(cache)} if cache else {})
    return run_client(client, LOAD.replace("REPOS", repr(repos)), env, within=NO_NETWORK)


def fetch(hub: Hub, cache: Path, repos: tuple[str, ...], *, client: str = NEWEST) -> object:
    env = {"HF_HUB_CACHE": str(cache), "HF_ENDPOINT": hub.endpoint}
    return run_client(client, LOAD.replace("REPOS", repr(repos)), env)


def adopt(keep: Keep, *caches: Path, merge: bool = False) -> list[Adopted]:
    return [keep.adopt(plan) for plan in keep.plan_adoption(caches, merge=merge, share=True)]


@pytest.fixture
def filled(hub: Hub) -> Hub:
    for repo, files in FILES.items():
        hub.repo(repo).commit(files)
    return hub


@pytest.mark.parametrize("xet", [False, True])
def test_two_caches_keep_loading_and_come_back_bit_for_bit(
    filled: Hub, keep_dir: Path, tmp_path: Path, xet: bool
) -> None:
    filled.xet = xet
    keep, a, b = Keep.create(keep_dir), tmp_path / "a", tmp_path / "b"
    expected = [fetch(filled, a, IN_A), fetch(filled, b, IN_B, client=list(CLIENTS)[1])]
    before = [picture(a), picture(b)]

    adopt(keep, a, b)

    assert sum(status.st_size for _, status in keep.store.blobs()) == sum(map(len, DISTINCT))
    assert disk_bytes(a, b) < sum(map(len, DISTINCT)) + 200_000
    for client in CLIENTS:
        assert [load(client, a, IN_A), load(client, b, IN_B)] == expected
    for plan in keep.plan_undo([a, b]):
        keep.undo(plan)
    after = [picture(a), picture(b)]
    assert [one.paths.keys() for one in after] == [one.paths.keys() for one in before]
    assert after == before


USERS, GROUP = (4301, 4302, 4303, 4304), 4300


@pytest.fixture
def base() -> Iterator[Path]:
    need_root()
    packages = sysconfig.get_paths()["purelib"]
    if not as_user(USERS[0], lambda: os.access(packages, os.R_OK | os.X_OK)):
        unavailable(f"another user cannot read `{packages}`")
    with public_directory() as folder:
        yield folder


def as_member(uid: int, code: str, home: Path, hub: Hub, **env: str) -> object:
    person = ("setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={GROUP}")
    return run_client(
        NEWEST,
        f"import os\nos.umask(0o022)\n{code}",
        {
            "HOME": str(home),
            "HF_HOME": str(home / ".cache/huggingface"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "HF_ENDPOINT": hub.endpoint,
            **env,
        },
        within=person,
    )


MERGE = """
import modelkeep, sys
keep = modelkeep.open(KEEP)
(plan,) = keep.plan_adoption([os.environ["HF_HOME"]], merge=True, share=True)
done = keep.adopt(plan)
result = [done.bytes_freed, [left.reason for left in done.skipped + done.corrupt]]
"""

UNDO = """
import modelkeep
keep = modelkeep.open(KEEP)
for plan in keep.plan_undo([os.environ["HF_HOME"]]):
    keep.undo(plan)
"""


def test_four_users_merge_into_one_copy(filled: Hub, base: Path) -> None:
    def create() -> None:
        os.umask(0o022)
        Keep.create(base / "keep", mode="group")

    as_user(USERS[0], create, gid=GROUP)
    repos = tuple(FILES)
    homes = {}
    for uid in USERS:
        home = homes[uid] = base / f"home-{uid}"
        home.mkdir()
        os.chown(home, uid, uid)
        expected = as_member(uid, LOAD.replace("REPOS", repr(repos)), home, filled)
    before = disk_bytes(*homes.values())

    for uid, home in homes.items():
        done = as_member(uid, MERGE.replace("KEEP", repr(str(base / "keep"))), home, filled)
        assert isinstance(done, list)
        assert done[1] == []

    large = {data for data in DISTINCT if len(data) > MIB}
    after = disk_bytes(base / "keep/store/blobs", base / "keep/hub", *homes.values())
    assert after < sum(map(len, large)) + 600_000 < before / 3.5
    for uid, home in homes.items():
        assert (home / ".cache/huggingface/hub").samefile(base / "keep/hub")
        again = as_member(uid, LOAD.replace("REPOS", repr(repos)), home, filled, HF_HUB_OFFLINE="1")
        assert again == expected
    as_member(USERS[2], UNDO.replace("KEEP", repr(str(base / "keep"))), homes[USERS[2]], filled)
    hub_cache = homes[USERS[2]] / ".cache/huggingface/hub"
    assert not hub_cache.is_symlink()
    assert all(path.lstat().st_uid == USERS[2] for path in hub_cache.rglob("*"))


def test_somebody_elses_cache_is_left_to_its_owner(filled: Hub, base: Path) -> None:
    cache = base / "cache"
    fetch(filled, cache, IN_A)
    as_user(USERS[0], lambda: Keep.create(base / "keep"))

    def attempt() -> str:
        try:
            adopt(Keep.open(base / "keep"), cache)
        except AccessError as error:
            return f"{error} {error.hint}"
        return "adopted"

    assert "sudo -u root modelkeep adopt" in as_user(USERS[0], attempt)


def test_where_links_are_forbidden_the_blocks_are_shared(filled: Hub, tmp_path: Path) -> None:
    with loop(tmp_path, "xfs") as disk:
        cache, keep = disk / "cache", Keep.create(disk / "keep")
        fetch(filled, cache, IN_A)
        local = disk / "model"
        call = f"snapshot_download('org/base', local_dir={str(local)!r})"
        code = f"from huggingface_hub import snapshot_download\n{call}"
        run_client(
            NEWEST, code, {"HF_HUB_CACHE": str(tmp_path / "x"), "HF_ENDPOINT": filled.endpoint}
        )
        before = [picture(cache), picture(local)]
        adopt(keep, cache)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize

        (adopted,) = adopt(keep, local)

        assert adopted.skipped == ()
        assert adopted.bytes_freed >= len(COMMON)
        os.sync()
        assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - free > len(COMMON) // 2
        weights = local / "model.safetensors"
        assert weights.stat().st_nlink == 1
        assert picture(local).paths["model.safetensors"] == before[1].paths["model.safetensors"]
        (again,) = adopt(keep, local)
        assert (again.journal, again.bytes_shared) == (None, len(COMMON))
        for plan in keep.plan_undo([cache, local]):
            keep.undo(plan)
        assert [picture(cache), picture(local)] == before


def test_another_file_system_shares_nothing(filled: Hub, keep_dir: Path, tmp_path: Path) -> None:
    with loop(tmp_path, "ext4", 64) as disk:
        fetch(filled, disk / "cache", IN_A)
        before = picture(disk / "cache")

        (adopted,) = adopt(Keep.create(keep_dir), disk / "cache")

        assert {left.reason for left in adopted.skipped} == {
            "it lies on another file system than the keep"
        }
        assert adopted.journal is None
        assert picture(disk / "cache") == before


def fill(filler: Path) -> None:
    """Leave no block free on the disk of a file."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 512):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
        os.fsync(file.fileno())


@pytest.mark.parametrize("merge", [False, True])
def test_a_full_disk_stops_it_and_loses_nothing(filled: Hub, tmp_path: Path, merge: bool) -> None:
    with loop(tmp_path, "ext4", 64) as disk:
        cache, keep = disk / "cache", Keep.create(disk / "keep")
        expected = fetch(filled, cache, IN_A)
        before = picture(cache)
        fill(disk / "filler")

        with pytest.raises(NoSpaceError):
            adopt(keep, cache, merge=merge)

        assert load(NEWEST, cache, IN_A) == expected
        (disk / "filler").unlink()
        adopt(keep, cache, merge=merge)
        assert load(NEWEST, cache, IN_A) == expected
        fill(disk / "filler")
        (plan,) = keep.plan_undo([cache])
        with pytest.raises(NoSpaceError):
            keep.undo(plan)
        assert load(NEWEST, cache, IN_A) == expected
        (disk / "filler").unlink()
        keep.undo(plan)
        assert picture(cache) == before
