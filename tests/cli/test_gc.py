"""`modelkeep gc` as a person types it."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from modelkeep.keep import Keep
from tests.cli.conftest import COMMAND, Modelkeep, Result
from tests.filesystems import as_user, public_directory
from tests.hub import Hub, Repository
from tests.keeping import held_by
from tests.models import TINY, random_bytes

MIB = 1 << 20


@pytest.fixture
def two(modelkeep: Modelkeep, hub: Hub, keep_dir: Path) -> Keep:
    """`google-bert/bert-tiny`, used 90 days ago, and `org/two`, used just now."""
    for number, name in enumerate(("google-bert/bert-tiny", "org/two")):
        hub.repo(name).commit({"config.json": b"{}", "w.bin": random_bytes(MIB, number)})
        assert modelkeep("pull", name).code == 0
    keep = Keep.open(keep_dir)
    (weights,) = (
        file for file in held_by(keep, "google-bert/bert-tiny").files if file.path == "w.bin"
    )
    then = time.time() - 90 * 86_400
    os.utime(keep.store.layout.used(weights.digest), (then, then))
    return keep


def repos(modelkeep: Modelkeep) -> list[str]:
    return [repo["repo"] for repo in modelkeep("ls", "--format", "json").repos]


def test_alone_it_finds_nothing_in_a_keep_in_use(modelkeep: Modelkeep, two: Keep) -> None:
    result = modelkeep("gc")
    assert result.code == 0
    assert "nothing to remove; for what more could go: modelkeep gc --all --dry-run" in result.err


def test_with_nothing_to_remove_all_is_not_advised_again(modelkeep: Modelkeep, two: Keep) -> None:
    assert modelkeep("gc", "--all", "--yes").code == 0
    assert modelkeep("gc", "--all").err == "nothing to remove\n"


def test_the_document(modelkeep: Modelkeep, two: Keep) -> None:
    planned = modelkeep("gc", "--match", "bert-*", "--dry-run", "--format", "json").document
    assert set(planned) == {
        "schema", "remove", "kept", "bytes_planned", "bytes_freed", "bytes_pending", "dry_run",
        "bytes_short", "notes",
    }  # fmt: skip
    (item,) = planned["remove"]
    commit = held_by(two, "google-bert/bert-tiny").commit
    assert item["kind"] == "revision"
    assert item["name"] == f"google-bert/bert-tiny@{commit}"
    assert item["bytes"] == planned["bytes_planned"] >= MIB
    assert item["reason"] == "matches bert-*"
    assert (planned["bytes_freed"], planned["dry_run"]) == (0, True)

    done = modelkeep("gc", "--match", "bert-*", "--yes", "--format", "json").document
    assert done["remove"] == planned["remove"]
    assert (done["bytes_freed"], done["dry_run"]) == (planned["bytes_planned"], False)
    assert repos(modelkeep) == ["org/two"]


def test_the_plan_says_what_goes_why_and_how_long_it_was_not_used(
    modelkeep: Modelkeep, two: Keep
) -> None:
    modelkeep("pin", "org/two", "--reason", "demo")
    result = modelkeep("gc", "--keep-under", "0", "--dry-run")
    line = next(line for line in result.out.splitlines() if "bert-tiny" in line)
    assert "1.1 MB" in line
    assert "2 months ago" in line
    assert "least recently used" in line
    assert "kept org/two@" in result.out
    assert "demo" in result.out
    assert "would give back 1.1 MB; nothing was changed" in result.err
    assert "short of what was asked" in result.err
    assert len(repos(modelkeep)) == 2


def test_without_a_terminal_it_refuses(modelkeep: Modelkeep, two: Keep) -> None:
    result = modelkeep("gc", "--all", "--format", "json")
    assert result.code == 2
    assert "not a terminal" in result.error["message"]
    assert len(repos(modelkeep)) == 2


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 2)])
def test_a_person_is_asked(modelkeep: Modelkeep, two: Keep, answer: str, left: int) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [COMMAND, "gc", "--all"], stdin=theirs, capture_output=True, text=True, timeout=60
    )
    os.close(ours)
    os.close(theirs)
    assert "remove these, up to 2.1 MB? [y/N]" in done.stderr
    assert len(repos(modelkeep)) == left
    assert done.returncode == (1 if left else 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--free", "1GB", "--keep-under", "1GB"), "two different goals"),
        (("--all", "--match", "x*"), "--all leaves nothing to narrow"),
        (("--free", "much"), "`much` is no size such as"),
        (("--free", "''"), "invalid value for `--free`: `''` is no size such as 500 GB"),
        (("--older-than", "1m"), "`1m` could be minutes or months: write 60min or 30d"),
        (("--older-than", "long"), "`long` is no age such as"),
        (("org/name",), "unexpected extra argument"),
    ],
)
def test_what_makes_no_sense_is_refused(
    modelkeep: Modelkeep, two: Keep, arguments: tuple[str, ...], said: str
) -> None:
    result = modelkeep("gc", *arguments)
    assert result.code == 2
    assert said in result.err
    assert len(repos(modelkeep)) == 2


def test_what_a_client_brought_is_settled_first_and_can_go(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path, hub: Hub, tiny_repo: Repository
) -> None:
    from huggingface_hub import snapshot_download

    tiny_repo.commit({"new.bin": random_bytes(MIB, 3)}, update=True)
    # Else it asks where the first test of this process had its Hub.
    snapshot_download(tiny_repo.id, cache_dir=keep_dir / "hub", endpoint=hub.endpoint)

    freed = modelkeep("gc", "--all", "--yes", "--format", "json").document

    assert repos(modelkeep) == []
    assert freed["bytes_freed"] >= MIB + len(TINY["model.safetensors"])


@pytest.mark.real
def test_a_keep_of_somebody_else_ends_with_4(hub: Hub, tiny_repo: Repository) -> None:
    with public_directory() as folder:
        keep = Keep.create(folder / "keep")
        keep.pull(tiny_repo.id)

        def collect() -> tuple[int, str]:
            done = subprocess.run(
                [COMMAND, "gc", "--all", "--yes", "--keep", folder / "keep"],
                capture_output=True,
                text=True,
                env={**os.environ, "HOME": os.fspath(folder)},
            )
            return done.returncode, done.stderr

        code, said = as_user(4242, collect)
        assert (code, "cannot be written by you" in said) == (4, True), said
        assert keep.is_complete(tiny_repo.id)
        shutil.rmtree(folder / "keep")
