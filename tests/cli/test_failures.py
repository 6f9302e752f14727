"""Bad input and bad days: one line, a hint, and an exit code that scripts can tell apart."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from modelkeep.hub.upstream import Upstream
from tests.cli.conftest import COMMAND, Modelkeep, Result
from tests.filesystems import loop, read_only
from tests.hub import Hub, Repository, Status
from tests.models import TINY, random_bytes


def fails(result: Result, code: int, *words: str) -> None:
    """The result is a failure of this code, told in one line that has these words."""
    assert result.code == code, result
    lines = result.err.strip().splitlines()
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert error[7].islower() or error[7] == "`"
    assert not error.endswith(".")
    for word in words:
        assert word in error
    assert result.out == ""


def test_an_unknown_repo(modelkeep: Modelkeep, hub: Hub) -> None:
    fails(modelkeep("pull", "org/none"), 1, "`org/none`")
    fails(modelkeep("show", "org/none"), 1, "`org/none`", "not in the keep")
    fails(modelkeep("where", "org/none"), 1)
    fails(modelkeep("rm", "org/none", "--yes"), 1)
    fails(modelkeep("verify", "org/none"), 1)
    fails(modelkeep("link", "org/none", "--to", "x"), 1)


def test_a_wrong_revision(modelkeep: Modelkeep, pulled: Result) -> None:
    fails(modelkeep("pull", "org/tiny@v9"), 1, "`v9`")
    fails(modelkeep("where", "org/tiny@v9"), 1, "`v9`")
    fails(modelkeep("rm", "org/tiny@v9", "--yes"), 1, "`v9`")


def test_no_network(modelkeep: Modelkeep) -> None:
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    fails(modelkeep("pull", "org/tiny", env=nobody), 5, "127.0.0.1:9")


def test_a_gated_repo_without_access(modelkeep: Modelkeep, hub: Hub) -> None:
    hub.repo("org/gated", gated=True).commit(TINY)
    fails(modelkeep("pull", "org/gated"), 4, "gated")
    fails(modelkeep("pull", "org/gated", env={"HF_TOKEN": ""}), 4, "gated", "log in")


def test_an_endpoint_that_refuses(modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository) -> None:
    hub.fault("*/org/tiny/*", Status(500), times=None, origin="hub")
    result = modelkeep("pull", "org/tiny", "--format", "json")
    assert result.code == 5
    assert result.error["kind"] == "upstream"


@pytest.mark.parametrize("name", ["org/../x", "a/b/c", "../x", "org/x@../y", "/etc", "org/--x", ""])
def test_a_name_that_is_none(modelkeep: Modelkeep, name: str) -> None:
    assert modelkeep("init").code == 0
    for command in ("pull", "show", "where", "verify"):
        fails(modelkeep(command, name), 2)


def test_a_folder_that_is_no_model(modelkeep: Modelkeep, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/todo.txt").write_text("water the plants")
    fails(modelkeep("add", "notes", "--as", "me/notes"), 2, "does not look like a model")
    fails(modelkeep("add", "nowhere", "--as", "me/x"), 1, "`nowhere`")
    fails(modelkeep("add", "notes", "--as", "me/../x"), 2)


def test_a_keep_of_a_newer_format(modelkeep: Modelkeep, pulled: Result, keep_dir: Path) -> None:
    header = keep_dir / "store/STORE.json"
    header.chmod(0o644)
    header.write_text(json.dumps({**json.loads(header.read_text()), "format": 99}))
    for command in (["ls"], ["pull", "org/tiny"], ["rm", "org/tiny", "--yes"]):
        fails(modelkeep(*command), 2, "99")
    bare = modelkeep()
    assert bare.code == 2
    assert "99" in bare.err
    assert "modelkeep doctor" in bare.out


def test_no_keep_at_all(modelkeep: Modelkeep) -> None:
    fails(modelkeep("ls"), 1, "no keep")
    fails(modelkeep("show", "org/tiny"), 1, "no keep")


def test_settings_that_cannot_be_read(modelkeep: Modelkeep, keep_dir: Path) -> None:
    assert modelkeep("init").code == 0
    (keep_dir / "keep.toml").write_text("mode = \n")
    fails(modelkeep("ls"), 2, "keep.toml")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with loop(tmp_path, "ext4") as directory:
        yield directory


@pytest.mark.real
def test_no_space(modelkeep: Modelkeep, hub: Hub, small_disk: Path) -> None:
    hub.repo("org/large").commit({"config.json": b"{}", "model.bin": random_bytes(12_000_000)})
    fails(modelkeep("--keep", small_disk / "keep", "pull", "org/large"), 6, "space")
    assert hub.gets("*.bin") == []


@pytest.mark.real
def test_a_read_only_keep(
    modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository, small_disk: Path
) -> None:
    keep = ("--keep", small_disk / "keep")
    assert modelkeep(*keep, "pull", "org/tiny").code == 0
    with read_only(small_disk):
        assert modelkeep(*keep, "ls", "--format", "quiet").out == "org/tiny\n"
        assert modelkeep(*keep, "verify").code == 0
        assert modelkeep(*keep, "where", "org/tiny").code == 0
        assert modelkeep(*keep, "rm", "org/tiny", "--dry-run").code == 0
        fails(modelkeep(*keep, "pull", "org/tiny"), 4)
        fails(modelkeep(*keep, "rm", "org/tiny", "--yes"), 4)


def test_a_full_stdout(pulled: Result) -> None:
    for form in ("human", "json"):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [COMMAND, "ls", "--format", form], stdout=full, stderr=subprocess.PIPE, text=True
            )
        assert done.returncode == 6
        assert done.stderr == "error: no space left on device while writing to stdout\n"


@pytest.mark.parametrize("address", ["http://127.0.0.1:port", "hub.example", "http://[::1"])
def test_an_endpoint_that_is_no_address(modelkeep: Modelkeep, address: str) -> None:
    result = modelkeep("pull", "org/tiny", env={"HF_ENDPOINT": address})
    assert result.code == 2, result
    assert "Traceback" not in result.err


def test_the_password_of_an_endpoint_is_not_said(modelkeep: Modelkeep) -> None:
    nobody = {"HF_ENDPOINT": "http://ada:hunter2@127.0.0.1:9"}
    result = modelkeep("pull", "org/tiny", env=nobody)
    fails(result, 5, "127.0.0.1:9")
    assert "hunter2" not in result.err
    assert Upstream(nobody["HF_ENDPOINT"]).public == "http://127.0.0.1:9"


def test_what_is_added_cannot_stand_at_a_commit_or_at_two_revisions(
    modelkeep: Modelkeep, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    fails(modelkeep("add", folder, "--as", "me/m", "--revision", "a" * 40), 2, "is a commit")
    fails(modelkeep("add", folder, "--as", "me/m@v2", "--revision", "v3"), 2, "`v3`")
    assert "me/m@v2" in modelkeep("add", folder, "--as", "me/m@v2").out


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(pulled: Result, closed: str) -> None:
    for arguments, code in (("--version", 0), ("ls", 0), ("rm org/tiny", 2), ("env", 0)):
        done = subprocess.run(
            ["sh", "-c", f'exec "{COMMAND}" {arguments} {closed}'],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, (arguments, done)
        assert "Traceback" not in done.stderr


def test_offline_mode_is_content_with_what_is_here(
    modelkeep: Modelkeep, hub: Hub, pulled: Result
) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        result = modelkeep("pull", "org/tiny", env={name: "1"})
        assert result.code == 0, result
        assert "fetched 0 B" in result.out
        assert "what the keep has of it is complete" in result.err
        fails(modelkeep("pull", "org/other", env={name: "1"}), 5, "offline")
    result = modelkeep("pull", "org/tiny", env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    fails(result, 5)
    assert f"complete at {pulled.repos[0]['commit'][:12]}" in result.err


def test_offline_mode_lets_nothing_incomplete_pass(
    modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository
) -> None:
    one = ("--include", "config.json")
    assert modelkeep("pull", "org/tiny", *one).code == 0
    assert modelkeep("pull", "org/tiny", *one, env={"HF_HUB_OFFLINE": "1"}).code == 0
    fails(modelkeep("pull", "org/tiny", env={"HF_HUB_OFFLINE": "1"}), 5)


def test_patterns_that_match_nothing_name_a_file(
    modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository
) -> None:
    result = modelkeep("pull", "org/tiny", "--include", "nothing*")
    fails(result, 1, "matches")
    assert "such as `" in result.err


def test_places_that_are_no_keep(modelkeep: Modelkeep, tmp_path: Path, keep_dir: Path) -> None:
    link = tmp_path / "a link"
    link.symlink_to("nowhere")
    for command in ("ls", "init"):
        fails(modelkeep("--keep", link, command), 1, "`nowhere`, which is not there")
    fails(modelkeep("--keep", "", "ls"), 2, "empty name")
    assert f"modelkeep init '{tmp_path}/b c'" in modelkeep("--keep", tmp_path / "b c", "ls").err
    assert modelkeep("init").code == 0
    (keep_dir / "keep.toml").unlink()
    (keep_dir / "keep.toml").mkdir()
    fails(modelkeep("ls"), 2, "is a folder")


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", f'rmdir "{gone}"; exec "{COMMAND}" --keep x ls'],
        cwd=gone,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the working directory is gone\n")


def test_show_knows_revisions(modelkeep: Modelkeep, pulled: Result) -> None:
    assert modelkeep("show", "org/tiny@main").code == 0
    fails(modelkeep("show", "org/tiny@v9"), 1, "`org/tiny@v9`")


def test_the_line_that_loads_what_was_added_names_its_revision(
    modelkeep: Modelkeep, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    out = modelkeep("add", folder, "--as", "me/m@v3").out
    assert out.startswith("me/m@v3 ")
    assert 'from_pretrained("me/m", revision="v3")' in out


def test_completion_offers_what_ls_lists(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    (keep_dir / "hub/models--org--empty/refs").mkdir(parents=True)
    words = {"COMP_WORDS": "modelkeep show org/", "COMP_CWORD": "2"}
    result = modelkeep(env={"_MODELKEEP_COMPLETE": "bash_complete", **words})
    assert result.out == "plain,org/tiny\n"


def test_a_pull_of_what_is_there_says_that_nothing_was_placed(
    modelkeep: Modelkeep, hub: Hub, pulled: Result
) -> None:
    assert pulled.repos[0]["files_placed"] == pulled.repos[0]["files"]
    assert "placed  nothing" in modelkeep("pull", "org/tiny").out
    document = modelkeep("pull", "org/tiny", "--format", "json")
    assert document.repos[0]["files_placed"] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_folder_of_somebody_else_is_no_place_for_a_keep() -> None:
    with TemporaryDirectory(dir="/var/tmp") as closed:
        done = subprocess.run(
            [COMMAND, "init", closed], user=65534, group=65534, extra_groups=[], cwd="/",
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 4, done
    assert "looking at" in done.stderr
