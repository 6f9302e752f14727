"""What stock clients put into the hub becomes content of the store, and nothing else does."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download

from modelkeep.errors import NotFoundError, UsageError
from modelkeep.fs.space import allocated_bytes
from modelkeep.hub import held
from modelkeep.hub.progress import Progress
from modelkeep.keep import Keep
from modelkeep.store import meta as metas
from modelkeep.store.digest import hash_bytes
from tests import forks
from tests.filesystems import need_root
from tests.hub import Hub
from tests.keeping import content, held_by, loaded
from tests.models import random_bytes

MIB = 1 << 20
WEIGHTS = random_bytes(2 * MIB, 5)
FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": WEIGHTS, "deep/a.txt": b"a"}
SIZE = sum(map(len, FILES.values()))
BROUGHT = "org/brought"


class Hashing(Progress):
    """Counts the bytes that were hashed."""

    hashed = 0

    def advanced(self, count: int) -> None:
        self.hashed += count


def bring(keep: Keep, hub: Hub, name: str = BROUGHT) -> Path:
    """A stock client downloads a repo into the keep's hub; its snapshot."""
    return Path(snapshot_download(name, cache_dir=keep.hub.directory, endpoint=hub.endpoint))


@pytest.fixture
def hub(hub: Hub) -> Hub:
    """A Hub that has a repo for clients to bring."""
    hub.repo(BROUGHT).commit(FILES)
    return hub


@pytest.fixture
def brought(keep: Keep, hub: Hub) -> Path:
    return bring(keep, hub)


def unsettled(keep: Keep) -> int:
    return sum(repo.bytes_unsettled for repo in keep.list().repos)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_shared_sealed_and_described(keep: Keep, hub: Hub, brought: Path) -> None:
    assert unsettled(keep) == SIZE

    settled = keep.settle()

    assert (settled.files, settled.bytes_total) == (3, SIZE)
    assert (settled.bytes_shared, settled.bytes_freed) == (len(WEIGHTS), 0)
    assert settled.skipped == settled.corrupt == ()
    assert content(brought) == FILES
    for file in held_by(keep, BROUGHT).files:
        blob = (brought / file.path).resolve()
        assert mode(blob) == 0o444
        assert blob.samefile(keep.store.path(file.digest)) == (file.size >= MIB)
        info = keep.store.info(file.digest)
        assert info is not None
        assert info.intact
        assert [(s.repo, s.commit, s.path, s.upstream) for s in info.sources] == [
            (BROUGHT, brought.name, file.path, hub.endpoint)
        ]
    (tree,) = (brought.parent.parent / "trees").iterdir()
    assert mode(tree) == 0o644
    assert unsettled(keep) == 0
    assert not scan_cache_dir(keep.hub.directory).warnings
    assert keep.verify().ok
    assert not list(keep.store.layout.tmp.glob("[!f]*"))


def test_what_is_settled_is_not_hashed_again(keep: Keep, brought: Path) -> None:
    first, second = Hashing(), Hashing()
    keep.settle(progress=first)
    again = keep.settle(progress=second)
    assert (first.hashed, second.hashed) == (SIZE, 0)
    assert (again.files, again.bytes_total) == (0, 0)


def test_what_the_store_has_gives_its_space_back(keep: Keep, hub: Hub) -> None:
    hub.repo("org/one").commit({"model.safetensors": WEIGHTS})
    keep.pull("org/one")
    blob = (bring(keep, hub) / "model.safetensors").resolve()
    space = allocated_bytes(blob.stat())

    settled = keep.settle(BROUGHT)

    assert settled.bytes_freed == space
    assert blob.samefile(keep.store.path(hash_bytes(WEIGHTS, "sha256")))
    assert blob.stat().st_nlink == 3


def test_a_pull_counts_what_it_took_in_as_stored(keep: Keep, hub: Hub, brought: Path) -> None:
    hub.clear_log()
    pulled = keep.pull(BROUGHT)
    assert (pulled.bytes_fetched, pulled.bytes_stored, pulled.bytes_linked) == (0, SIZE, 0)
    assert not hub.matching("*/resolve/*")


def test_corrupt_bytes_stay_and_never_enter_the_store(keep: Keep, brought: Path) -> None:
    blob = (brought / "model.safetensors").resolve()
    bad = b"\0" + WEIGHTS[1:]
    blob.write_bytes(bad)
    blob.chmod(0o640)

    for _ in range(2):  # it is found as often as one looks
        settled = keep.settle()
        (corrupt,) = settled.corrupt
        assert corrupt.path == str(blob)
        assert str(hash_bytes(bad, "sha256")) in corrupt.reason
        assert (blob.read_bytes(), mode(blob)) == (bad, 0o640)
        assert not keep.store.has(hash_bytes(WEIGHTS, "sha256"))
    assert settled.files == 0
    name = held_by(keep, BROUGHT).repo
    damaged = held.damaged(keep.store.layout, keep.hub, name, brought.name)
    assert damaged == ["model.safetensors"]
    assert [found.path for found in keep.verify().corrupt] == [str(blob)]
    keep.pull(BROUGHT)
    assert content(brought) == FILES
    assert keep.settle().corrupt == ()


def test_a_good_copy_that_a_client_brings_heals_the_store(keep: Keep, hub: Hub) -> None:
    hub.repo("org/one").commit({"model.safetensors": WEIGHTS})
    one = keep.pull("org/one").snapshot / "model.safetensors"
    one.resolve().chmod(0o644)
    one.write_bytes(WEIGHTS[::-1])
    one.resolve().chmod(0o444)
    assert not keep.verify().ok
    bring(keep, hub)

    keep.settle()

    assert one.read_bytes() == WEIGHTS
    assert keep.verify().ok


def test_unfinished_and_foreign_names_are_left(keep: Keep, brought: Path) -> None:
    blobs = brought.parent.parent / "blobs"
    names = (
        f"{'a' * 64}.1234abcd.incomplete",
        f".{'b' * 64}.1234abcd.shared",
        "tmp_6f6bd0a3-4b1f-4a52-8d0a-3c4ae0d6e1a7",
        "not-a-checksum",
    )
    for name in names:
        (blobs / name).write_bytes(b"partial")

    settled = keep.settle()

    assert [(Path(s.path).name, s.reason) for s in settled.skipped] == [
        ("not-a-checksum", "its name is no checksum")
    ]
    assert settled.files == 3
    for name in names:
        assert (blobs / name).read_bytes() == b"partial"
        assert mode(blobs / name) == 0o644


def test_what_was_removed_and_comes_again_is_unsettled_again(
    keep: Keep, hub: Hub, brought: Path
) -> None:
    keep.settle()
    keep.remove(keep.plan_removal(BROUGHT))
    bring(keep, hub)
    assert unsettled(keep) == SIZE
    assert keep.settle().files == 3
    assert unsettled(keep) == 0


def test_a_forced_download_is_shared_anew(keep: Keep, hub: Hub, brought: Path) -> None:
    keep.settle()
    for name in ("model.safetensors", "config.json"):
        hf_hub_download(
            BROUGHT,
            name,
            cache_dir=keep.hub.directory,
            endpoint=hub.endpoint,
            force_download=True,
        )
    assert unsettled(keep) == len(WEIGHTS) + len(FILES["config.json"])

    settled = keep.settle()

    assert (settled.files, settled.bytes_shared) == (2, len(WEIGHTS))
    assert settled.bytes_freed >= len(WEIGHTS)
    assert unsettled(keep) == 0
    assert loaded(keep, BROUGHT) == FILES


@pytest.mark.parametrize(
    ("step", "stored"),
    [
        ("take_over:sealed", False),
        ("take_over:hashed", False),
        ("take_over:hashed", True),
        ("settle:described", True),
    ],
)
def test_a_file_that_is_being_written_is_left(
    keep: Keep, hub: Hub, step: str, stored: bool
) -> None:
    for name in ("org/one", "org/two"):
        hub.repo(name).commit({"model.safetensors": WEIGHTS})
    if stored:
        keep.pull("org/one")
    blob = (bring(keep, hub, "org/two") / "model.safetensors").resolve()
    with blob.open("r+b") as writer:
        child = forks.start(keep.settle, sync=f"stop:{step}")
        child.stopped()
        writer.write(b"still going on")
        writer.flush()
        child.resume()
        settled = child.result()

    (skipped,) = settled.skipped
    assert skipped.path == str(blob)
    assert "changed while" in skipped.reason
    assert blob.read_bytes().startswith(b"still going on")
    if stored:
        assert keep.store.path(hash_bytes(WEIGHTS, "sha256")).read_bytes() == WEIGHTS
    else:
        assert not keep.store.has(hash_bytes(WEIGHTS, "sha256"))
        assert mode(blob) == 0o644


def test_links_that_lead_out_are_left(keep: Keep, hub: Hub, brought: Path, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere"
    secret.write_bytes(WEIGHTS)
    blob = (brought / "model.safetensors").resolve()
    blob.unlink()
    blob.symlink_to(secret)

    settled = keep.settle()

    assert [s.reason for s in settled.skipped] == ["it is a link that leads out of the cache"]
    assert (secret.stat().st_nlink, mode(secret), blob.is_symlink()) == (1, 0o644, True)
    assert not keep.store.has(hash_bytes(WEIGHTS, "sha256"))


def test_a_repo_whose_folder_is_elsewhere_is_left(
    keep: Keep, hub: Hub, brought: Path, tmp_path: Path
) -> None:
    folder = brought.parent.parent
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")

    settled = keep.settle()

    assert {s.reason for s in settled.skipped} == {"its folder is a link to another place"}
    assert settled.files == 0
    assert not list(keep.store.blobs())


def test_a_dry_run_tells_and_changes_nothing(keep: Keep, hub: Hub) -> None:
    hub.repo("org/one").commit({"model.safetensors": WEIGHTS})
    keep.pull("org/one")
    blob = (bring(keep, hub) / "model.safetensors").resolve()
    before = blob.stat()

    told = keep.settle(dry_run=True)

    assert told.dry_run
    assert (told.files, told.bytes_total, told.bytes_shared) == (3, SIZE, len(WEIGHTS))
    assert told.bytes_freed == allocated_bytes(before)
    assert blob.stat() == before
    assert unsettled(keep) == SIZE
    done = keep.settle()
    assert (done.files, done.bytes_freed) == (told.files, told.bytes_freed)


def test_what_stands_in_a_snapshot_itself_becomes_a_link(
    keep: Keep, hub: Hub, brought: Path
) -> None:
    for path in FILES:
        blob = (brought / path).resolve()
        (brought / path).unlink()
        blob.rename(brought / path)
    assert unsettled(keep) == SIZE

    settled = keep.settle()

    assert settled.files == 3
    assert all((brought / path).is_symlink() for path in FILES)
    assert content(brought) == FILES
    assert unsettled(keep) == 0
    assert not scan_cache_dir(keep.hub.directory).warnings


def test_a_snapshot_of_files_that_nobody_noted_is_left(keep: Keep, brought: Path) -> None:
    for path in FILES:
        blob = (brought / path).resolve()
        (brought / path).unlink()
        blob.rename(brought / path)
    (note,) = (brought.parent.parent / "trees").iterdir()
    note.unlink()

    settled = keep.settle()

    assert {s.reason for s in settled.skipped} == {"nobody noted what it should hold"}
    assert len(settled.skipped) == 3
    assert not note.exists()
    assert content(brought) == FILES


def test_several_revisions_are_all_noted_as_sources(keep: Keep, hub: Hub, brought: Path) -> None:
    repo = hub.repo("org/moving")
    commits = []
    for number in range(3):
        commits.append(repo.commit({"model.safetensors": WEIGHTS, "n.txt": b"%d" % number}))
        snapshot_download("org/moving", cache_dir=keep.hub.directory, endpoint=hub.endpoint)

    keep.settle()

    meta = metas.read(keep.store.layout.meta(hash_bytes(WEIGHTS, "sha256")))
    assert meta is not None
    assert {(s.repo, s.commit) for s in meta.sources} == {
        (BROUGHT, brought.name),
        *(("org/moving", commit) for commit in commits),
    }


def test_what_was_added_here_gets_no_upstream(keep: Keep, hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_bytes(b"{}")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    blob = (keep.add(folder, "me/mine").snapshot / "model.safetensors").resolve()
    blob.unlink()
    blob.write_bytes(WEIGHTS)  # as a restored backup has it

    assert keep.settle().files == 1

    info = keep.store.info(hash_bytes(WEIGHTS, "sha256"))
    assert info is not None
    assert [source.upstream for source in info.sources] == [None]


def test_another_users_file_is_copied_and_replaced(keep: Keep, brought: Path) -> None:
    need_root()
    for path in FILES:
        os.chown((brought / path).resolve(), 12345, 12345)

    settled = keep.settle()

    assert (settled.files, settled.skipped, settled.bytes_freed) == (3, (), 0)
    blob = (brought / "model.safetensors").resolve()
    assert blob.samefile(keep.store.path(hash_bytes(WEIGHTS, "sha256")))
    assert blob.stat().st_uid == os.geteuid()
    assert content(brought) == FILES
    assert unsettled(keep) == 0


def test_repos_are_settled_whole_and_must_be_here(keep: Keep, brought: Path) -> None:
    with pytest.raises(UsageError, match="as a whole"):
        keep.settle(f"{BROUGHT}@main")
    with pytest.raises(NotFoundError, match="org/none"):
        keep.settle("org/none")
    assert keep.settle(BROUGHT).files == 3
