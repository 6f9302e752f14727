"""A local folder becomes a repo with the names the Hub would give, and stays as it was."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download

from modelkeep.errors import NotFoundError, UsageError
from modelkeep.keep import Keep
from tests.filesystems import as_user, need_root, public_directory
from tests.hub import Hub
from tests.keeping import held_by
from tests.models import TINY, random_bytes

FILES = {
    **TINY,
    "data.lfs.txt": b"by pattern",
    "weights.tar.part": b"by pattern too",
    "big.json": random_bytes(10 << 20),
    "README.md": b"text",
    "sub/folder/pytorch_model.bin": b"weights",
    "events.out.tfevents.1": b"log",
    "tfevents/notes.txt": b"only the folder is named so",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "my-model"
    for path, data in TINY.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(data)
    return top


def test_content_is_named_as_the_hub_names_it(keep: Keep, hub: Hub, tmp_path: Path) -> None:
    top = tmp_path / "everything"
    for path, data in FILES.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(data)
    repo = hub.repo("org/theirs")
    repo.commit(FILES)

    added = keep.add(top, "org/ours")

    ours = {f.path: (f.digest.etag, f.blob_id, f.size) for f in held_by(keep, "org/ours").tree}
    theirs = {
        path: (file.etag, file.oid, file.size)
        for path, file in repo.commits[repo.sha].files.items()
    }
    assert ours == theirs
    assert added.bytes_total == sum(map(len, FILES.values()))


def test_it_loads_by_its_name_without_a_network(
    keep: Keep, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = keep.add(folder, "org/mine")

    for path, data in TINY.items():
        found = hf_hub_download(
            "org/mine", path, cache_dir=keep.hub.directory, local_files_only=True
        )
        assert Path(found).read_bytes() == data
        assert Path(found) == added.snapshot / path


def test_the_same_folder_is_the_same_commit_everywhere(
    keep: Keep, folder: Path, tmp_path: Path
) -> None:
    other = Keep.create(tmp_path / "other")
    one, two = keep.add(folder, "org/a"), other.add(folder, "org/b")
    again = keep.add(folder, "org/a")

    assert one.commit == two.commit == again.commit
    assert (again.bytes_stored, again.bytes_linked) == (0, sum(map(len, TINY.values())))
    (folder / "config.json").write_bytes(b"{}")
    assert keep.add(folder, "org/a").commit != one.commit


def test_the_folder_is_neither_changed_nor_shared(keep: Keep, folder: Path) -> None:
    before = {path: path.stat() for path in folder.rglob("*")}

    added = keep.add(folder, "org/mine")

    for path, status in before.items():
        now = path.stat()
        assert (now.st_ino, now.st_mode, now.st_nlink, now.st_mtime_ns) == (
            status.st_ino,
            status.st_mode,
            status.st_nlink,
            status.st_mtime_ns,
        )
    (folder / "model.safetensors").write_bytes(b"trained on")
    assert (added.snapshot / "model.safetensors").read_bytes() == TINY["model.safetensors"]


def test_what_only_its_owner_could_read_can_be_read_by_all(keep: Keep, folder: Path) -> None:
    (folder / "model.safetensors").chmod(0o600)

    added = keep.add(folder, "org/mine")

    mode = (added.snapshot / "model.safetensors").stat().st_mode
    assert stat.S_IMODE(mode) == 0o444


def test_working_folders_are_left_out(keep: Keep, folder: Path) -> None:
    for name in (".git", ".cache", "__pycache__", "onnx/.ipynb_checkpoints"):
        (folder / name).mkdir(parents=True)
        (folder / name / "junk").write_text("x")

    keep.add(folder, "org/mine")

    assert {file.path for file in held_by(keep, "org/mine").tree} == set(TINY)


def test_links_to_files_are_followed(keep: Keep, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.bin").write_bytes(b"weights")
    (folder / "linked.bin").symlink_to(tmp_path / "elsewhere.bin")

    added = keep.add(folder, "org/mine")

    assert (added.snapshot / "linked.bin").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("name", "target", "error"),
    [("gone.bin", "nowhere", NotFoundError), ("more", "onnx", UsageError)],
)
def test_nothing_is_left_out_in_silence(
    keep: Keep, folder: Path, name: str, target: str, error: type[Exception]
) -> None:
    (folder / name).symlink_to(target)

    with pytest.raises(error, match=name):
        keep.add(folder, "org/mine")

    assert not list(keep.hub.repos())
    assert not list(keep.store.blobs())


@pytest.mark.parametrize("name", [b"new\nline.bin", b"back\\slash.bin", b"latin\xe9.bin"])
def test_a_name_no_repo_can_have_is_refused(keep: Keep, folder: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x")

    with pytest.raises(UsageError, match="cannot be the name"):
        keep.add(folder, "org/mine")


def test_a_path_that_is_no_model_is_refused(keep: Keep, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("x")

    with pytest.raises(UsageError, match="does not look like a model"):
        keep.add(tmp_path / "notes", "org/mine")
    with pytest.raises(NotFoundError):
        keep.add(tmp_path / "notes" / "todo.txt", "org/mine")
    with pytest.raises(NotFoundError):
        keep.add(tmp_path / "missing", "org/mine")
    assert keep.add(tmp_path / "notes", "org/mine", type="dataset").files == 1


def test_a_folder_one_may_not_read_is_an_error_and_no_empty_repo() -> None:
    need_root()
    with public_directory() as top:
        (top / "model").mkdir(0o700)
        (top / "model" / "config.json").write_text("{}")

        def add() -> str:
            try:
                Keep.create(top / "keep").add(top / "model", "org/mine")
            except Exception as error:
                return type(error).__name__
            return "added"

        assert as_user(12345, add) == "AccessError"


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_refused(keep: Keep, folder: Path, kind: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "pipe":
            os.mkfifo(folder / "odd")
        else:
            listening.bind(os.fspath(folder / "odd"))

        with pytest.raises(UsageError, match="odd` is neither a file nor a folder"):
            keep.add(folder, "org/mine")

    assert not list(keep.hub.repos())


def test_a_branch_that_was_pulled_does_not_follow_a_folder_unasked(
    keep: Keep, folder: Path, hub: Hub
) -> None:
    (folder / "config.json").write_bytes(b'{"mine": true}')
    repo = hub.repo("org/tiny")
    theirs = repo.commit(TINY)
    keep.pull("org/tiny")

    with pytest.raises(UsageError, match="org/tiny@main") as caught:
        keep.add(folder, "org/tiny")
    assert caught.value.hint is not None
    assert "--force" in caught.value.hint
    assert held_by(keep, "org/tiny").commit == theirs
    assert keep.show("org/tiny").repos[0].source == hub.endpoint

    keep.add(folder, "org/tiny", "mine")
    assert keep.show("org/tiny").repos[0].source == hub.endpoint
    mine = keep.add(folder, "org/tiny", force=True).commit
    assert held_by(keep, "org/tiny").commit == mine
    assert keep.show("org/tiny").repos[0].source == "local"

    (folder / "config.json").write_bytes(b'{"mine": "too"}')
    assert held_by(keep, "org/tiny").commit != keep.add(folder, "org/tiny").commit
    keep.pull("org/tiny", force=True)
    assert keep.show("org/tiny").repos[0].source == hub.endpoint


def test_a_pull_of_the_same_name_leaves_what_was_added(keep: Keep, folder: Path, hub: Hub) -> None:
    (folder / "config.json").write_bytes(b'{"mine": true}')
    mine = keep.add(folder, "org/tiny").commit
    repo = hub.repo("org/tiny")
    theirs = repo.commit(TINY)

    with pytest.raises(UsageError, match="added from a local folder") as caught:
        keep.pull("org/tiny")
    assert caught.value.hint is not None
    assert theirs in caught.value.hint
    assert held_by(keep, "org/tiny").commit == mine

    keep.pull("org/tiny", theirs)
    assert held_by(keep, "org/tiny").commit == mine
    keep.pull("org/tiny", force=True)
    assert held_by(keep, "org/tiny").commit == theirs
    assert keep.is_complete("org/tiny", mine)
