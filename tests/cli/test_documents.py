"""`--format json` is a contract: every field of DESIGN's table, in its type, once per run."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Modelkeep, Result
from tests.hub import Hub, Repository
from tests.models import TINY

COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
SIZE = sum(map(len, TINY.values()))


def test_pull_says_what_came_and_what_was_here(
    modelkeep: Modelkeep, pulled: Result, tiny_repo: Repository
) -> None:
    (first,) = pulled.repos
    assert set(first) == {
        "repo", "type", "commit", "snapshot", "files", "bytes_total", "bytes_fetched",
        "bytes_stored", "bytes_linked", "modes", "seconds", "bytes_resumed", "files_placed",
        "evicted",
    }  # fmt: skip
    assert (first["repo"], first["type"], first["files"]) == ("org/tiny", "model", 3)
    assert COMMIT.fullmatch(first["commit"])
    assert (Path(first["snapshot"]) / "config.json").read_bytes() == TINY["config.json"]
    assert first["bytes_total"] == first["bytes_fetched"] == first["bytes_stored"] == SIZE
    assert first["bytes_linked"] == 0
    assert sum(first["modes"].values()) == 3
    assert isinstance(first["seconds"], float)

    (again,) = modelkeep("pull", "org/tiny", "--format", "json").repos
    assert (again["bytes_fetched"], again["bytes_stored"]) == (0, 0)
    assert again["bytes_linked"] == SIZE


def test_each_of_several_repos_carries_its_own_error(
    modelkeep: Modelkeep, pulled: Result, hub: Hub
) -> None:
    result = modelkeep("pull", "org/none", "org/tiny", "--format", "json")
    assert result.code == 1
    failed, got = result.repos
    assert failed["repo"] == "org/none"
    assert failed["error"]["kind"] == "not_found"
    assert failed["error"]["exit_code"] == 1
    assert got["repo"] == "org/tiny"
    assert "error" not in got


def test_ls_and_show_say_what_the_keep_holds(modelkeep: Modelkeep, pulled: Result) -> None:
    document = modelkeep("ls", "--format", "json").document
    (repo,) = document["repos"]
    assert set(repo) == {
        "repo", "type", "refs", "revisions", "bytes_total", "bytes_unique", "bytes_unsettled",
        "last_used", "pinned", "leased", "source",
    }  # fmt: skip
    commit = pulled.repos[0]["commit"]
    assert repo["refs"] == {"main": commit}
    assert repo["revisions"] == [
        {"commit": commit, "files": 3, "bytes": SIZE, "complete": True, "damaged": None}
    ]
    assert repo["bytes_total"] == repo["bytes_unique"] == SIZE
    assert repo["bytes_unsettled"] == 0
    assert TIME.fullmatch(repo["last_used"])
    assert repo["pinned"] is repo["leased"] is False
    assert repo["source"].startswith("http://127.0.0.1:")
    assert document["store"] == {"blobs": 3, "bytes": SIZE, "bytes_saved": 0}
    repo["revisions"][0]["damaged"] = 0
    assert modelkeep("show", "org/tiny", "--format", "json").document == document


def test_where_says_which_file_and_why(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    hub_cache = {"HF_HUB_CACHE": str(keep_dir / "hub")}
    document = modelkeep(
        "where", "org/tiny", "model.safetensors", "--format", "json", env=hub_cache
    ).document
    (file,) = document["files"]
    assert set(file) == {
        "file", "path", "blob", "digest", "size", "links", "intact", "checked_at"
    }  # fmt: skip
    assert Path(file["path"]).resolve() == Path(file["blob"])
    assert DIGEST.fullmatch(file["digest"])
    assert (file["file"], file["size"]) == ("model.safetensors", 300_000)
    assert isinstance(file["links"], int)
    assert file["intact"] is True
    assert TIME.fullmatch(file["checked_at"])
    assert document["in_keep"] is True
    assert document["decided_by"] == {
        "name": "HF_HUB_CACHE", "value": str(keep_dir / "hub"), "source": "environment"
    }  # fmt: skip


def test_link_says_how_files_were_placed(
    modelkeep: Modelkeep, pulled: Result, tmp_path: Path
) -> None:
    document = modelkeep("link", "org/tiny", "--to", "plain", "--format", "json").document
    assert set(document["modes"]) == {"hardlink", "reflink", "symlink", "copy"}
    assert document["repo"] == "org/tiny"
    assert document["commit"] == pulled.repos[0]["commit"]
    assert document["target"] == str(tmp_path / "plain")
    assert (document["files"], document["bytes_total"]) == (3, SIZE)
    assert document["bytes_copied"] <= SIZE
    assert (tmp_path / "plain/onnx/deep/a.txt").read_bytes() == b"a"

    document = modelkeep("link", "org/tiny", "--into", "cache", "--format", "json").document
    assert sum(document["modes"].values()) == 3


def test_verify_names_what_is_bad_and_ends_with_1(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    good = modelkeep("verify", "--format", "json")
    assert good.code == 0
    assert good.document | {"seconds": 0} == {
        "schema": 1, "files": 6, "bytes": 2 * SIZE, "seconds": 0,
        "corrupt": [], "missing": [], "repaired": [], "unverifiable": [], "unchanged": 0,
        "remaining": {"files": 0, "bytes": 0}, "interrupted": False,
        "repairs": [], "not_repaired": [], "dry_run": False,
    }  # fmt: skip

    (blob,) = (keep_dir / "store/blobs/sha256").glob("*/*")
    blob.chmod(0o644)
    blob.write_bytes(b"\0" + blob.read_bytes()[1:])
    bad = modelkeep("verify", "org/tiny", "--format", "json")
    assert bad.code == 1
    (corrupt,) = bad.document["corrupt"]
    assert corrupt["digest"] == f"sha256:{blob.name}"
    assert corrupt["path"] == str(blob)
    assert corrupt["repos"] == ["org/tiny"]
    assert DIGEST.fullmatch(corrupt["found"])
    (revision,) = modelkeep("show", "org/tiny", "--format", "json").repos[0]["revisions"]
    assert (revision["complete"], revision["damaged"]) == (False, 1)
    assert "(corrupt)" in modelkeep("show", "org/tiny").out
    shown = modelkeep("verify")
    assert shown.code == 1
    assert "modelkeep verify --repair" in shown.err
    assert "org/tiny" in shown.out


def test_rm_plans_then_removes(modelkeep: Modelkeep, pulled: Result) -> None:
    plan = modelkeep("rm", "org/tiny", "--dry-run", "--format", "json").document
    assert set(plan) == {
        "schema", "remove", "kept", "bytes_planned", "bytes_freed", "bytes_pending", "dry_run"
    }  # fmt: skip
    (item,) = plan["remove"]
    assert set(item) == {"kind", "name", "bytes", "reason", "last_used"}
    assert item["name"] == f"org/tiny@{pulled.repos[0]['commit']}"
    assert plan["bytes_planned"] >= SIZE  # on disk: in blocks, and small files as copies
    assert (plan["bytes_freed"], plan["dry_run"]) == (0, True)

    done = modelkeep("--yes", "rm", "org/tiny", "--format", "json").document
    assert (done["bytes_freed"], done["dry_run"]) == (plan["bytes_planned"], False)
    assert modelkeep("ls", "--format", "json").repos == []


def test_add_describes_what_it_made(modelkeep: Modelkeep, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    added = modelkeep("add", folder, "--as", "me/mine", "--format", "json")
    (repo,) = added.repos
    assert (repo["repo"], repo["bytes_fetched"], repo["bytes_stored"]) == ("me/mine", 0, 2)
    assert modelkeep("ls", "--format", "json").repos[0]["source"] == "local"


def test_the_bare_command_describes_the_keep(
    modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository, keep_dir: Path
) -> None:
    empty = modelkeep("--format", "json").document
    assert set(empty) == {"schema", "keep", "caches", "skipped", "next"}
    assert empty["keep"] is None
    assert modelkeep("pull", "org/tiny", "--format", "quiet").code == 0
    document = modelkeep("--format", "json").document
    assert document["keep"] == {
        "dir": str(keep_dir), "mode": "private", "repos": 1, "bytes": SIZE, "bytes_saved": 0
    }  # fmt: skip


def test_the_bare_command_finds_other_caches_and_what_is_there_twice(
    modelkeep: Modelkeep, hub: Hub, keep_dir: Path, isolated: Path
) -> None:
    weights = bytes(2 << 20)
    hub.repo("org/model").commit({"config.json": b"{}", "model.safetensors": weights})
    assert modelkeep("pull", "org/model").code == 0
    usual = isolated / ".cache/huggingface/hub"
    shutil.copytree(keep_dir / "hub", usual, symlinks=True)
    found = modelkeep("--format", "json").document["caches"]
    (cache,) = (cache for cache in found if cache["dir"] == str(usual))
    assert cache == {
        "dir": str(usual), "owner": usual.owner(), "uid": os.geteuid(), "repos": 1,
        "bytes": len(weights) + 2, "bytes_duplicate": len(weights),
        "needs_root": False, "bytes_shared": 0, "found_by": "this shell", "shares": True,
    }  # fmt: skip


def test_init_makes_a_keep_and_gives_the_lines(modelkeep: Modelkeep, tmp_path: Path) -> None:
    result = modelkeep("init", tmp_path / "models", "--mode", "group", "--format", "json")
    assert result.document["keep"] == {
        "dir": str(tmp_path / "models"), "mode": "group", "group": (tmp_path / "models").group()
    }  # fmt: skip
    assert result.document["activation"]["file"] is None
    hub_line = f"HF_HUB_CACHE={tmp_path / 'models/hub'}"
    assert any(hub_line in line for line in result.document["activation"]["lines"])
    again = modelkeep("init", tmp_path / "models", "--format", "json")
    assert again.document["keep"]["mode"] == "group"
    refused = modelkeep("init", tmp_path / "models", "--mode", "private", "--format", "json")
    assert (refused.code, refused.error["kind"]) == (2, "settings")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["frobnicate"], "usage"),
        (["pull"], "usage"),
        (["pull", "org/x", "--bogus"], "usage"),
        (["ls", "--keep"], "usage"),
        (["verify", "--jobs", "0"], "usage"),
        (["show", "org/../x"], "invalid_repo"),
    ],
)
def test_a_usage_error_is_a_document_too(
    modelkeep: Modelkeep, keep_dir: Path, arguments: list[str], kind: str
) -> None:
    assert modelkeep("init").code == 0
    for command in (
        [*arguments[:1], "--format=json", *arguments[1:]],
        ["--format", "json", *arguments],
    ):
        result = modelkeep(*command)
        assert result.code == 2
        assert result.error["kind"] == kind
        assert result.err.startswith("error: ")
