"""What the keep has, given to another cache or to a plain folder."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from modelkeep.errors import NotFoundError, ReadOnlyError, UsageError
from modelkeep.hub.link import Linked
from modelkeep.keep import Keep
from tests import filesystems
from tests.hub import Hub, Repository
from tests.keeping import content, held_by
from tests.models import TINY, random_bytes

LARGE = {"config.json": b"{}", "model.safetensors": random_bytes(2 << 20, 5)}


@pytest.fixture
def large(keep: Keep, hub: Hub) -> Repository:
    """A repository whose weights are worth linking."""
    repo = hub.repo("org/large")
    repo.commit(LARGE)
    keep.pull(repo.id)
    return repo


def test_another_cache_gets_the_very_inodes_and_loads_offline(
    keep: Keep, large: Repository, hub: Hub, tmp_path: Path
) -> None:
    hub.down()
    cache = tmp_path / "cache"

    linked = keep.link(large.id, into=cache)

    assert (linked.bytes_copied, linked.bytes_total) == (2, (2 << 20) + 2)
    assert (linked.modes["hardlink"], linked.modes["copy"]) == (1, 1)
    snapshot = Path(snapshot_download(large.id, cache_dir=cache, local_files_only=True))
    assert content(snapshot) == LARGE
    assert (snapshot / "model.safetensors").samefile(
        next(keep.store.path(f.digest) for f in held_by(keep, large.id).tree if f.size > 2)
    )
    assert (cache / "models--org--large/refs/main").read_text() == large.sha
    assert not scan_cache_dir(cache).warnings


def test_linking_again_changes_nothing(keep: Keep, large: Repository, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    keep.link(large.id, into=cache)
    before = {path: path.lstat().st_ino for path in cache.rglob("*")}

    linked = keep.link(large.id, into=cache)

    assert linked.bytes_copied == 0
    assert {path: path.lstat().st_ino for path in cache.rglob("*")} == before


def test_a_linked_cache_keeps_its_blobs_when_the_keep_lets_go(
    keep: Keep, large: Repository, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    keep.link(large.id, into=cache)

    removal = keep.remove(keep.plan_removal(large.id))

    assert removal.bytes_pending == 2 << 20  # what is copied stands by itself
    assert keep.verify().ok
    assert len(list(keep.store.blobs())) == 1
    snapshot = snapshot_download(large.id, cache_dir=cache, local_files_only=True)
    assert content(Path(snapshot)) == LARGE
    shutil.rmtree(cache)


@pytest.mark.real
@pytest.mark.parametrize(("kind", "mode"), [("tmpfs", "copy"), ("xfs", "copy"), ("btrfs", "copy")])
def test_a_cache_on_another_file_system_gets_copies(
    keep: Keep, large: Repository, tmp_path: Path, kind: str, mode: str
) -> None:
    with ExitStack() as stack:
        mount = filesystems.tmpfs(tmp_path) if kind == "tmpfs" else filesystems.loop(tmp_path, kind)
        elsewhere = stack.enter_context(mount)

        linked = keep.link(large.id, into=elsewhere / "cache")

        assert linked.modes[mode] == 2
        assert any("EXDEV" in reason for reason in linked.reasons)
        assert (
            content(
                Path(
                    snapshot_download(
                        large.id, cache_dir=elsewhere / "cache", local_files_only=True
                    )
                )
            )
            == LARGE
        )


@pytest.mark.real
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_folder_gets_reflinks_where_there_are_any(
    hub: Hub, tiny_repo: Repository, tmp_path: Path, kind: str
) -> None:
    tiny_repo.commit({"large.bin": LARGE["model.safetensors"]}, update=True)
    with filesystems.loop(tmp_path, kind) as disk:
        keep = Keep.create(disk / "keep")
        keep.pull(tiny_repo.id)

        linked = keep.link(tiny_repo.id, to=disk / "plain")

        assert linked.modes["reflink"] == 1
        assert linked.modes["hardlink"] == 0
        assert (disk / "plain/large.bin").stat().st_nlink == 1
        with (disk / "plain/large.bin").open("r+b") as file:
            file.write(b"overwritten in place")
        assert keep.verify().ok


def test_a_folder_gets_plain_writable_files_of_its_own(
    keep: Keep, large: Repository, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"

    linked = keep.link(large.id, to=folder)

    assert content(folder) == LARGE
    assert linked.files == 2
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert (path.stat().st_nlink, path.is_symlink()) == (1, False)
        path.write_bytes(b"overwritten in place")
    assert keep.verify().ok


def test_a_folder_may_share_inodes_if_asked(keep: Keep, large: Repository, tmp_path: Path) -> None:
    linked = keep.link(large.id, to=tmp_path / "plain", hardlink=True)

    weights = tmp_path / "plain/model.safetensors"
    assert linked.modes["hardlink"] == 1
    assert (weights.stat().st_nlink, stat.S_IMODE(weights.stat().st_mode)) == (3, 0o444)
    removal = keep.remove(keep.plan_removal(large.id))
    assert removal.bytes_pending
    assert weights.read_bytes() == LARGE["model.safetensors"]


@pytest.mark.parametrize("obstacle", ["file for a folder", "pipe", "missing blob", "a file"])
def test_a_refusal_writes_nothing(keep: Keep, hub: Hub, tmp_path: Path, obstacle: str) -> None:
    repo = hub.repo("org/deep")
    repo.commit({"a.json": b"1", "sub/b.json": b"2", "z.json": b"3"})
    keep.pull(repo.id)
    folder = tmp_path / "plain"
    if obstacle == "a file":
        folder.write_bytes(b"mine")
    else:
        folder.mkdir()
    if obstacle == "file for a folder":
        (folder / "sub").write_bytes(b"mine")
    elif obstacle == "pipe":
        os.mkfifo(folder / "z.json")
    elif obstacle == "missing blob":
        last = next(f.digest for f in held_by(keep, repo.id).tree if f.path == "z.json")
        keep.store.path(last).unlink()
    before = sorted(tmp_path.rglob("plain*/**"))

    with pytest.raises((UsageError, NotFoundError)):
        keep.link(repo.id, to=folder)

    assert sorted(tmp_path.rglob("plain*/**")) == before


@pytest.mark.parametrize("obstacle", ["shorter", "same size", "folder", "dangling"])
def test_strangers_are_refused_before_anything_is_written(
    keep: Keep, large: Repository, tmp_path: Path, obstacle: str
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    config = folder / "model.safetensors"
    if obstacle == "shorter":
        config.write_bytes(b"mine")
    elif obstacle == "same size":
        config.write_bytes(bytes(2 << 20))
    elif obstacle == "folder":
        config.mkdir()
    else:
        config.symlink_to("nowhere")

    with pytest.raises(UsageError):
        keep.link(large.id, to=folder)

    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]


def test_the_same_files_may_be_linked_again(keep: Keep, large: Repository, tmp_path: Path) -> None:
    keep.link(large.id, to=tmp_path / "plain")
    keep.link(large.id, to=tmp_path / "plain")
    assert content(tmp_path / "plain") == LARGE


def test_what_the_keep_lacks_is_said(keep: Keep, large: Repository, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        keep.link("org/unknown", into=tmp_path / "cache")
    weights = next(f.digest for f in held_by(keep, large.id).tree if f.size > 2)
    keep.store.path(weights).unlink()
    with pytest.raises(NotFoundError) as caught:
        keep.link(large.id, into=tmp_path / "cache")
    assert caught.value.hint is not None
    assert "modelkeep pull org/large" in caught.value.hint
    with pytest.raises(NotFoundError):
        keep.link(large.id, to=tmp_path / "plain")


def test_what_a_stock_client_brought_is_not_linked_as_nothing(
    keep: Keep, hub: Hub, tiny_repo: Repository, tmp_path: Path
) -> None:
    snapshot_download(tiny_repo.id, cache_dir=keep.hub.directory, endpoint=hub.endpoint)
    shutil.rmtree(keep.hub.directory / "models--org--tiny/trees")

    with pytest.raises(NotFoundError, match="org/tiny"):
        keep.link(tiny_repo.id, to=tmp_path / "plain")


def test_one_target_and_its_own_options(keep: Keep, large: Repository, tmp_path: Path) -> None:
    for wrong in (
        {},
        {"into": tmp_path / "a", "to": tmp_path / "b"},
        {"into": tmp_path / "a", "hardlink": True},
        {"to": tmp_path / "b", "symlink": True},
    ):
        with pytest.raises(UsageError):
            keep.link(large.id, **wrong)


def test_a_reader_may_link_out_of_a_keep_it_cannot_write(hub: Hub) -> None:
    with filesystems.public_directory() as top:
        repo = hub.repo("org/large")
        repo.commit(LARGE)
        keep = Keep.create(top / "keep")
        keep.pull(repo.id)
        os.chmod(top / "keep", 0o755)  # noqa: PTH101

        def link() -> dict[str, int]:
            return Keep.open(top / "keep").link(repo.id, to=top / "theirs").modes

        assert filesystems.as_user(12345, link)["copy"] == 2
        assert content(top / "theirs") == LARGE


def test_a_reader_may_link_a_keep_it_cannot_write_into_its_cache(hub: Hub) -> None:
    with filesystems.public_directory() as top:
        repo = hub.repo("org/large")
        repo.commit(LARGE)
        keep = Keep.create(top / "keep")
        keep.pull(repo.id)
        os.chmod(top / "keep", 0o755)  # noqa: PTH101

        def link(symlink: bool) -> Linked:
            return Keep.open(top / "keep").link(repo.id, into=top / "cache", symlink=symlink)

        with pytest.raises(ReadOnlyError, match="cannot be written by you"):
            filesystems.as_user(12345, partial(link, True))
        assert not (top / "cache").exists()
        linked = filesystems.as_user(12345, partial(link, False))

        assert linked.files == 2
        assert "not registered" in linked.reasons[-1]
        assert not any("--symlink" in reason for reason in linked.reasons)
        assert [root.id for root in keep.store.roots] == ["hub"]
        keep.remove(keep.plan_removal(repo.id))
        found = snapshot_download(repo.id, cache_dir=top / "cache", local_files_only=True)
        assert content(Path(found)) == LARGE


def test_who_gets_copies_of_anothers_files_is_told_what_helps(hub: Hub) -> None:
    if Path("/proc/sys/fs/protected_hardlinks").read_text().strip() != "1":
        pytest.skip("everybody may link everybody's files here")
    with filesystems.public_directory() as top:
        repo = hub.repo("org/large")
        repo.commit(LARGE)
        keep = Keep.create(top / "keep")
        keep.pull(repo.id)
        for path in [top / "keep", *(top / "keep").rglob("*")]:
            if path.is_dir():
                path.chmod(0o777)

        def link(cache: str, symlink: bool) -> Linked:
            return Keep.open(top / "keep").link(repo.id, into=top / cache, symlink=symlink)

        linked = filesystems.as_user(12345, partial(link, "one", False))
        assert linked.modes["copy"] == 2
        assert any("EPERM" in reason for reason in linked.reasons)
        assert "--symlink takes no space" in linked.reasons[-1]
        linked = filesystems.as_user(12345, partial(link, "two", True))
        assert (linked.modes["copy"], linked.modes["symlink"]) == (1, 1)
        assert not any("--symlink" in reason for reason in linked.reasons)


def test_tiny_files_survive_their_editing_in_the_linked_cache(
    keep: Keep, tiny_repo: Repository, tmp_path: Path
) -> None:
    keep.pull(tiny_repo.id)
    keep.link(tiny_repo.id, into=tmp_path / "cache")
    config = next((tmp_path / "cache").glob("models--*/snapshots/*/config.json"))
    config.resolve().chmod(0o644)
    config.write_bytes(b"edited")

    assert keep.verify().ok
    keep.link(tiny_repo.id, into=tmp_path / "cache")
    assert config.read_bytes() == TINY["config.json"]
