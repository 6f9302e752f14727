"""`modelkeep verify` as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from modelkeep.keep import Keep
from modelkeep.store.digest import hash_bytes
from tests.cli.conftest import COMMAND, Modelkeep, Result
from tests.models import TINY
from tests.store.support import flip

WEIGHTS = hash_bytes(TINY["model.safetensors"], "sha256")


@pytest.fixture
def blob(pulled: Result, keep_dir: Path) -> Path:
    return Keep.open(keep_dir).store.path(WEIGHTS)


def damage(keep_dir: Path) -> None:
    """Flip a bit in the store, and in the copy that the hub has of a file of this size."""
    flip(Keep.open(keep_dir).store.path(WEIGHTS))
    flip(next((keep_dir / "hub").glob(f"*/blobs/{WEIGHTS.hex}")))


def test_repair_says_what_it_did_and_ends_with_0(
    modelkeep: Modelkeep, blob: Path, keep_dir: Path
) -> None:
    damage(keep_dir)
    shown = modelkeep("verify", "--repair")
    assert shown.code == 0
    assert f"repaired {blob}\n         rewritten, from org/tiny" in shown.out

    damage(keep_dir)
    document = modelkeep("verify", "org/tiny", "--repair", "--format", "json").document
    assert document["repaired"] == [str(WEIGHTS)]
    assert [one["how"] for one in document["repairs"]] == ["rewritten", "replaced"]
    assert set(document["repairs"][0]) == {"digest", "path", "how", "source"}


def test_a_dry_run_of_a_repair_shows_what_it_would_make_good(
    modelkeep: Modelkeep, blob: Path, keep_dir: Path
) -> None:
    damage(keep_dir)
    bad = blob.read_bytes()
    shown = modelkeep("verify", "--repair", "--dry-run")
    assert shown.code == 1
    assert f"would repair {blob}\n" in shown.out
    assert blob.read_bytes() == bad
    document = modelkeep("verify", "--repair", "--dry-run", "--format", "json").document
    assert (document["dry_run"], document["repairs"]) == (True, [])
    assert modelkeep("verify", "--dry-run").code == 2


def test_what_cannot_be_repaired_is_said_with_the_reason(
    modelkeep: Modelkeep, blob: Path, keep_dir: Path
) -> None:
    damage(keep_dir)
    offline = {"HF_HUB_OFFLINE": "1"}
    result = modelkeep("verify", "--repair", "--format", "json", env=offline)
    assert result.code == 1
    (left,) = result.document["not_repaired"]
    assert (left["digest"], left["path"]) == (str(WEIGHTS), None)
    assert "offline" in left["reason"]
    shown = modelkeep("verify", "--repair", env=offline)
    assert "offline mode is on" in shown.out
    assert "--from PATH" in shown.err


def test_from_another_cache(modelkeep: Modelkeep, blob: Path, keep_dir: Path) -> None:
    subprocess.run(["cp", "-a", keep_dir / "hub", keep_dir.parent / "backup"], check=True)
    damage(keep_dir)
    result = modelkeep(
        "verify", "--repair", "--from", keep_dir.parent / "backup", env={"HF_HUB_OFFLINE": "1"}
    )
    assert result.code == 0, result.err
    assert "backup" in result.out


def test_what_cannot_be_read_is_not_called_bad(modelkeep: Modelkeep, keep_dir: Path) -> None:
    assert modelkeep("init").code == 0
    blobs = keep_dir / "hub/models--org--odd/blobs"
    blobs.mkdir(parents=True)
    (blobs / "etag-of-a-mirror").touch()
    found = modelkeep("verify")
    assert found.code == 1
    assert ": 1 unread" in found.out
    assert "bad" not in found.out


def test_a_cache_needs_no_keep(modelkeep: Modelkeep, blob: Path, keep_dir: Path) -> None:
    cache = keep_dir.parent / "cache"
    subprocess.run(["cp", "-a", keep_dir / "hub", cache], check=True)
    env = {"MODELKEEP_HOME": str(keep_dir.parent / "none"), "XDG_STATE_HOME": str(keep_dir.parent)}
    assert modelkeep("verify", "--cache", cache, env=env).code == 0
    flip(next(cache.glob(f"*/blobs/{WEIGHTS.hex}")))
    found = modelkeep("verify", "--cache", cache, env=env)
    assert found.code == 1
    assert f"modelkeep verify --cache {cache} --repair" in found.err
    assert modelkeep("verify", "--cache", cache, "--repair", env=env).code == 0
    assert modelkeep("verify", "--cache", cache, "--quick", env=env).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["org/tiny", "--all"], 2, "one of them"),
        (["org/tiny", "--cache", "x"], 2, "one of them"),
        (["--from", "x"], 2, "--repair"),
        (["--max-time", "soon"], 2, "30m"),
        (["--repair", "--from", "none"], 1, "not there"),
        (["--cache", "none"], 1, "no Hugging Face cache"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    modelkeep: Modelkeep, blob: Path, arguments: list[str], code: int, said: str
) -> None:
    result = modelkeep("verify", *arguments)
    assert result.code == code
    assert said in result.err


def test_little_time_leaves_the_rest_for_the_next_run(modelkeep: Modelkeep, blob: Path) -> None:
    first = modelkeep("verify", "--max-time", "0.00001m", "--jobs", "1", "--format", "json")
    assert first.code == 0
    assert first.document["remaining"]["files"] > 0
    told = modelkeep("verify", "--max-time", "0.00001m", "--jobs", "1")
    assert "remain: the same command goes on" in told.err


def test_ctrl_c_shows_what_was_found_and_ends_with_130(blob: Path, keep_dir: Path) -> None:
    store = Keep.open(keep_dir).store
    part = store.layout.tmp / "large"
    with part.open("wb") as file:
        file.truncate(40 << 30)  # a minute of zeros, which take no space
    digest = hash_bytes(b"not these zeros", "sha256")
    part.chmod(0o444)
    part.rename(store.path(digest))
    flip(blob)
    process = subprocess.Popen(
        [COMMAND, "verify", "--jobs", "2", "--format", "json"],
        env={**os.environ, "MODELKEEP_HOME": str(keep_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while store.has_sound(WEIGHTS) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    document = json.loads(out)
    assert document["interrupted"] is True
    assert [bad["digest"] for bad in document["corrupt"]] == [str(WEIGHTS)]
    assert document["remaining"]["files"] >= 1
    assert "go on" in err
