"""Files that others brought become content of the store by sharing their inode, or stay theirs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modelkeep.store.digest import hash_bytes
from modelkeep.store.store import Store
from modelkeep.store.taking import Outcome, take
from tests import forks
from tests.filesystems import need_root, tmpfs
from tests.store.support import SOURCE

DATA = b"brought by a client" * 1000
DIGEST = hash_bytes(DATA, "sha256")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cached"
    path.write_bytes(DATA)
    return path


def test_a_file_of_ones_own_is_shared_and_sealed(store: Store, file: Path) -> None:
    assert take(store, file, DIGEST, SOURCE).outcome is Outcome.TAKEN

    assert file.samefile(store.path(DIGEST))
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    info = store.info(DIGEST)
    assert info is not None
    assert (info.intact, info.links, info.sources) == (True, 2, (SOURCE,))


def test_a_link_is_followed_to_the_file(store: Store, file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file.name)

    assert take(store, link, DIGEST).outcome is Outcome.TAKEN

    assert link.is_symlink()
    assert store.path(DIGEST).samefile(file)
    assert not store.path(DIGEST).is_symlink()


def test_wrong_content_is_left(store: Store, file: Path) -> None:
    file.write_bytes(DATA + b"!")
    file.chmod(0o640)

    taken = take(store, file, DIGEST)

    assert (taken.outcome, taken.found) == (Outcome.CORRUPT, hash_bytes(DATA + b"!", "sha256"))

    assert not store.has(DIGEST)
    assert (file.stat().st_nlink, stat.S_IMODE(file.stat().st_mode)) == (1, 0o640)


def test_somebody_elses_file_is_left(store: Store, file: Path) -> None:
    need_root()
    os.chown(file, 12345, 12345)

    assert take(store, file, DIGEST).outcome is Outcome.OUT_OF_REACH

    assert stat.S_IMODE(file.stat().st_mode) != 0o444
    assert file.stat().st_nlink == 1


@pytest.mark.parametrize("kind", ["missing", "dangling", "folder", "pipe"])
def test_what_is_no_file_is_left(store: Store, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)

    wanted = Outcome.OUT_OF_REACH if path.exists() else Outcome.CHANGED
    assert take(store, path, DIGEST).outcome is wanted


def test_a_file_that_is_being_written_is_left(store: Store, file: Path) -> None:
    with file.open("r+b") as writer:
        child = forks.start(lambda: take(store, file, DIGEST).outcome, sync="stop:take_over:hashed")
        child.stopped()
        writer.seek(0)
        writer.write(b"still going on")
        writer.flush()
        child.resume()
        assert child.result() is Outcome.CHANGED

    assert not store.has(DIGEST)


@pytest.mark.parametrize("step", ["hashed", "sealed"])
def test_what_stands_under_its_temporary_name_meanwhile_is_left(
    store: Store, file: Path, tmp_path: Path, step: str
) -> None:
    private = tmp_path / "private"
    private.write_bytes(b"of the same user")
    private.chmod(0o600)
    file.write_bytes(DATA + b"!")
    file.chmod(0o640)
    child = forks.start(lambda: take(store, file, DIGEST).outcome, sync=f"stop:take_over:{step}")
    child.stopped()
    (temporary,) = (path for path in store.layout.tmp.iterdir() if path.is_file())
    temporary.unlink()
    temporary.symlink_to(private)
    child.resume()

    assert child.result() is Outcome.CORRUPT

    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.real
def test_a_file_on_another_file_system_is_left(store: Store, tmp_path: Path) -> None:
    with tmpfs(tmp_path) as elsewhere:
        file = elsewhere / "cached"
        file.write_bytes(DATA)
        assert take(store, file, DIGEST).outcome is Outcome.OUT_OF_REACH
        assert not store.has(DIGEST)
