"""The first minute: what there is on a machine, and the one command to type next."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelkeep.cli.program import run
from modelkeep.keep import Keep
from modelkeep.runtime import caches
from tests import forks
from tests.filesystems import need_root, public_directory
from tests.hub_layout.test_survey import write


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine whose homes lie in the folder returned, and which has nothing else."""
    with public_directory() as public:
        nobody = partial(
            caches.Machine,
            processes=str(public / "proc"),
            homes=str(public / "homes"),
            accounts=str(public / "passwd"),
            startup=(),
            volumes=(),
        )
        monkeypatch.setattr(caches, "Machine", nobody)
        monkeypatch.setenv("MODELKEEP_HOME", str(public / "keep"))
        yield public / "homes"


@pytest.fixture
def keep_dir(machine: Path) -> Path:
    return machine.parent / "keep"


def home_cache(homes: Path, name: str, *contents: bytes) -> Path:
    cache = homes / name / ".cache/huggingface/hub"
    write(cache, name, *contents)
    return cache


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert run([]) == 0
    return capsys.readouterr().out.splitlines()


def test_an_empty_machine_is_told_to_pull(capsys: pytest.CaptureFixture[str]) -> None:
    assert document(capsys) == {
        "schema": 1, "keep": None, "caches": [], "skipped": [],
        "next": "modelkeep pull sentence-transformers/all-MiniLM-L6-v2",
    }  # fmt: skip


@pytest.mark.parametrize("trouble", ["format", "closed", "strangers", "dangling"])
def test_a_keep_that_does_not_open_hides_no_caches(
    machine: Path, keep_dir: Path, capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    home_cache(machine, "al", b"weights")
    if trouble == "dangling":
        keep_dir.symlink_to(machine / "nowhere")
    else:
        (keep_dir / "store").mkdir(parents=True)
    if trouble == "format":
        (keep_dir / "store/STORE.json").write_text('{"format": 99}')
    elif trouble == "strangers":
        (keep_dir / "holiday.jpg").touch()
    elif trouble == "closed":
        (keep_dir / "store").chmod(0)

    def act() -> tuple[int, str, int, str, str]:
        if trouble == "closed":
            need_root()
            os.setuid(4242)
        code = run(["--format", "json"])
        text = capsys.readouterr().out
        return code, text, run([]), *capsys.readouterr()

    run([])  # imports what others may not read
    capsys.readouterr()
    code, text, again, out, err = forks.run(act)

    kind = {"format": 2, "closed": 4, "strangers": 2, "dangling": 1}[trouble]
    found = json.loads(text)
    assert (code, again, found["error"]["exit_code"]) == (kind, kind, kind)
    assert (found["keep"], len(found["caches"]), found["next"]) == (None, 1, "modelkeep doctor")
    assert out.startswith("caches   1 found")
    assert err.startswith(f"error: {found['error']['message']}")


def test_the_next_command_is_for_the_keep_that_was_named(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = home_cache(machine, "al", b"weights")
    assert run(["--keep", str(machine / "my keep"), "--format", "json"]) == 0
    following = json.loads(capsys.readouterr().out)["next"]
    assert following == f"modelkeep --keep '{machine}/my keep' adopt {cache}"
    assert run([*shlex.split(following)[1:], "--dry-run"]) == 0
    assert not (machine / "my keep").exists()
    assert run([*shlex.split(following)[1:], "--yes"]) == 0
    assert (machine / "my keep/store/STORE.json").exists()


def test_duplicates_are_to_be_adopted_the_biggest_win_first(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = home_cache(machine, "al", b"w" * 5_000_000, b"x" * 3_000_000, b"alone")
    small = home_cache(machine, "bo", b"x" * 3_000_000)
    middle = home_cache(machine, "cy", b"w" * 5_000_000)
    unique = home_cache(machine, "di", b"nobody else has it")
    command = f"modelkeep adopt {middle} {small} {large}"
    found = document(capsys)
    assert found["next"] == command
    assert [cache["dir"] for cache in found["caches"]] == [
        str(path) for path in (middle, small, large, unique)
    ]
    lines = shown(capsys)
    assert lines[0] == "caches   4 found, 16.0 MB; 8.0 MB are duplicates"
    assert lines[-1].startswith(f"next     {command}   (shares by link, undoable")
    assert any(line.startswith(f"{small}  ") and "3.0 MB" in line for line in lines)


def test_a_single_cache_is_to_be_adopted_while_the_keep_is_empty(
    machine: Path, keep_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = home_cache(machine, "a b", b"weights")
    assert document(capsys)["next"] == f"modelkeep adopt '{cache}'"
    keep = Keep.create(keep_dir)
    assert document(capsys)["next"] == f"modelkeep adopt '{cache}'"
    write(keep.hub.directory, "other", b"other weights")
    assert document(capsys)["next"] == 'eval "$(modelkeep env)"'
    assert "caches   1 found, 7 B; nothing twice" in shown(capsys)


def test_loaders_that_use_the_keep_need_nothing(
    keep_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Keep.create(keep_dir)
    write(keep.hub.directory, "model", b"weights")
    assert document(capsys)["next"] == 'eval "$(modelkeep env)"'
    monkeypatch.setenv("HF_HUB_CACHE", str(keep.hub.directory))
    assert document(capsys)["next"] == "modelkeep ls"


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
def test_what_is_closed_is_to_be_looked_at_as_root(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = home_cache(machine, "al", b"weights")
    home_cache(machine, "bo", b"weights")
    assert len(document(capsys)["caches"]) == 2  # also imports what others may not read
    cache.chmod(0o700)
    (machine / "bo").chmod(0o700)

    def as_stranger() -> list[str]:
        os.setuid(4242)
        return shown(capsys)

    lines = forks.run(as_stranger)
    assert lines[-1] == "next     sudo modelkeep"
    assert any(str(cache) in line and "needs root" in line for line in lines)
    assert any(line.startswith("closed ") and "sudo modelkeep" in line for line in lines)
