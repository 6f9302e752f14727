"""A member of the group puts links where others will write: nothing of theirs is touched."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.filesystems import as_user
from tests.models import TINY, random_bytes
from tests.real.people import Team, team

from modelkeep.store.digest import hash_bytes

pytestmark = pytest.mark.real

SECRET = random_bytes(1_200_000, 31)
HEX = hash_bytes(SECRET, "sha256").hex


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    with team() as made:
        made.site.hub.repo("org/x").commit({**TINY, "model.safetensors": SECRET})
        made.cleo.modelkeep(made.site, "ls")  # so that it has a home
        yield made


@pytest.fixture
def private(people: Team) -> Iterator[Path]:
    """A folder of Ada's, of which a test must change nothing: as it is after, it was before."""
    folder = people.ada.home / "private"
    as_user(people.ada.uid, lambda: _fill(folder))
    before = _picture(folder)
    yield folder
    after = _picture(folder)
    shutil.rmtree(folder)
    planted = people.site.cache / "models--org--x"
    if planted.is_symlink():
        planted.unlink()
    shutil.rmtree(planted, ignore_errors=True)
    layout, digest = people.site.keep.store.layout, hash_bytes(SECRET, "sha256")
    for path in (layout.blob(digest), layout.meta(digest), layout.used(digest)):
        path.unlink(missing_ok=True)
    assert after == before


def _fill(folder: Path) -> None:
    """What Ada has, private by its place and by its mode."""
    for name in ("blobs", "snapshots", "refs", "trees"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o700)
    for path in (folder / "blobs" / HEX, folder / "weights", folder / "trees" / f"{'a' * 40}.json"):
        path.write_bytes(SECRET)
        path.chmod(0o600)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    (folder / "refs" / "main").write_text("a" * 40)
    (folder / "snapshots" / ("a" * 40)).mkdir()
    (folder / "snapshots" / ("a" * 40) / "model.safetensors").symlink_to(f"../../blobs/{HEX}")


def _picture(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        times = 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
        found[str(path)] = (status.st_mode, status.st_nlink, status.st_size, times)
    return found


def plant(people: Team, place: Path, target: Path) -> None:
    """Let Bob put a link, and the folders that lead to it, into the keep."""

    def work() -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    as_user(people.bob.uid, work, gid=people.bob.groups[0])


@pytest.mark.parametrize("part", ["", "blobs", "snapshots", "refs", "trees"])
@pytest.mark.parametrize("verb", ["pull", "settle", "rm"])
def test_in_the_place_of_a_repo_or_a_part_of_it(
    people: Team, private: Path, part: str, verb: str
) -> None:
    plant(people, people.site.cache / "models--org--x" / part, private / part)
    if verb == "pull":
        said = people.ada.modelkeep(people.site, "pull", "org/x", code=4)
        assert f"is a link that uid {people.bob.uid} made" in said["error"]["message"]
    elif verb == "settle":
        people.ada.modelkeep(people.site, "settle")
    else:
        people.ada.modelkeep(people.site, "rm", "org/x", code=4)


def test_in_the_place_of_a_snapshot(people: Team, private: Path) -> None:
    (pulled,) = people.bob.modelkeep(people.site, "pull", "org/x")["repos"]
    snapshot = Path(pulled["snapshot"])
    shutil.rmtree(snapshot)
    plant(people, snapshot, private)

    people.ada.modelkeep(people.site, "pull", "org/x", code=4)


def test_in_the_place_of_a_blob_in_the_hub(people: Team, private: Path) -> None:
    plant(people, people.site.cache / "models--org--x/blobs" / HEX, private / "weights")

    people.ada.modelkeep(people.site, "settle")
    people.ada.modelkeep(people.site, "pull", "org/x")

    assert not (people.site.cache / "models--org--x/blobs" / HEX).samefile(private / "weights")


@pytest.mark.parametrize("kind", ["blob", "used", "meta"])
def test_in_the_place_of_what_the_store_has(people: Team, private: Path, kind: str) -> None:
    layout = people.site.keep.store.layout
    digest = hash_bytes(SECRET, "sha256")
    place = {"blob": layout.blob, "used": layout.used, "meta": layout.meta}[kind](digest)
    plant(people, place, private / "weights")

    people.ada.modelkeep(people.site, "pull", "org/x")

    assert layout.blob(digest).read_bytes() == SECRET
    assert not layout.blob(digest).is_symlink()


@pytest.mark.parametrize("name", ["tmp", "tmp/fetch", "locks", "roots", "leases", "trash"])
def test_in_the_place_of_a_folder_of_the_store(people: Team, private: Path, name: str) -> None:
    folder = people.site.keep.store.layout.root / name
    aside = folder.with_name("aside")
    as_user(people.bob.uid, lambda: folder.rename(aside), gid=people.bob.groups[0])
    plant(people, folder, private)
    try:
        refused = people.ada.modelkeep(people.site, "pull", "org/x", code=4)
    finally:
        folder.unlink()
        aside.rename(folder)
    assert refused["error"]["path"] == str(folder)


def test_no_member_replaces_a_shard(people: Team) -> None:
    layout = people.site.keep.store.layout
    for folder in layout.fixed():
        shard = folder / "ab" if (folder / "ab").exists() else folder / "sha256"
        with pytest.raises(PermissionError):
            as_user(
                people.bob.uid,
                lambda shard=shard: shard.rename(shard.with_name("aside")),  # type: ignore[misc]
                gid=people.bob.groups[0],
            )
