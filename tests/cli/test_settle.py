"""`modelkeep settle`, and what settles on its way."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from tests.cli.conftest import Modelkeep
from tests.hub import Hub, Repository
from tests.models import TINY

SIZE = sum(map(len, TINY.values()))


@pytest.fixture
def brought(modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository, keep_dir: Path) -> Path:
    """A stock client has put `org/tiny` into the keep's hub: its snapshot."""
    assert modelkeep("init").code == 0
    cache = keep_dir / "hub"
    return Path(snapshot_download(tiny_repo.id, cache_dir=cache, endpoint=hub.endpoint))


def unsettled(modelkeep: Modelkeep) -> int:
    count: int = modelkeep("show", "org/tiny", "--format", "json").repos[0]["bytes_unsettled"]
    return count


def test_the_document(modelkeep: Modelkeep, brought: Path) -> None:
    expected = {
        "schema": 1, "files": 3, "bytes_total": SIZE, "bytes_shared": 0, "bytes_freed": 0,
        "skipped": [], "corrupt": [], "dry_run": True,
    }  # fmt: skip
    assert modelkeep("settle", "--dry-run", "--format", "json").document == expected
    assert unsettled(modelkeep) == SIZE
    expected["dry_run"] = False
    assert modelkeep("settle", "--format", "json").document == expected
    assert unsettled(modelkeep) == 0
    again = modelkeep("settle", "org/tiny")
    assert again.out == "nothing to settle: all that clients brought has been taken in\n"


def test_a_corrupt_file_ends_with_1_and_names_itself(modelkeep: Modelkeep, brought: Path) -> None:
    blob = (brought / "config.json").resolve()
    blob.write_bytes(b"edited")
    result = modelkeep("settle")
    assert result.code == 1
    assert f"corrupt  {blob}" in result.out
    assert "settled 2 files" in result.out
    assert "modelkeep pull" in result.err
    quiet = modelkeep("settle", "--format", "quiet")
    assert (quiet.code, quiet.out) == (1, f"{blob}\n")


@pytest.mark.parametrize("command", [("gc",), ("verify",), ("pull", "org/tiny")])
def test_others_settle_on_their_way(
    modelkeep: Modelkeep, brought: Path, command: tuple[str, ...]
) -> None:
    result = modelkeep(*command, "--yes", "--format", "json")
    assert result.code == 0, result.err
    assert result.document
    assert unsettled(modelkeep) == 0
    assert modelkeep("ls", "--format", "json").document["store"]["blobs"] == len(TINY)


def test_a_plan_settles_nothing(modelkeep: Modelkeep, brought: Path) -> None:
    assert modelkeep("gc", "--dry-run").code == 0
    assert unsettled(modelkeep) == SIZE
