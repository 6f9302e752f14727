"""`modelkeep demo` does the main job, says what it cost, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients import python_of
from tests.hub import Hub
from tests.models import files_of, minilm
from tests.serve import MINILM, publish

pytestmark = pytest.mark.real

STEPS = ["first get", "second project", "load offline", "second revision", "verify"]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo works: empty before and, it is hoped, after."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "modelkeep", "demo", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def demo(*arguments: str | Path, code: int = 0) -> tuple[dict[str, Any], str]:
    """Run the demo to its end; return its document and what it said besides."""
    with start(*arguments, "--format", "json") as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == code, err
    document: dict[str, Any] = json.loads(out)
    return document, err


def test_the_main_job_on_the_real_model(hub: Hub, temporary: Path) -> None:
    publish(hub, MINILM, minilm())
    size = sum(path.stat().st_size for path in files_of(minilm()).values())
    readme = (minilm() / "README.md").stat().st_size
    document, _ = demo()
    first, second, loaded, revised, verified = document["rows"]
    assert [row["step"] for row in document["rows"]] == STEPS
    assert (first["bytes_fetched"], first["bytes_stored"]) == (size, size)
    assert second["bytes_fetched"] == 0
    assert second["bytes_on_disk"] < 1_000_000
    assert loaded["details"]["cosine"] == pytest.approx(0.741293, abs=1e-4)
    assert loaded["details"]["network_calls"] == 0
    assert revised["details"]["changed"] == ["README.md"]
    assert revised["bytes_fetched"] == revised["bytes_stored"] == readme // 2
    # The store's blobs, and the hub's own copies of those below 1 MiB.
    weights = (minilm() / "model.safetensors").stat().st_size
    assert verified["details"]["bytes"] == 2 * (size + readme // 2) - weights
    assert list(temporary.iterdir()) == []


def test_a_model_with_one_commit_gets_its_second_by_add(
    hub: Hub, temporary: Path, tiny_bert_dir: Path, tmp_path: Path
) -> None:
    hub.repo("org/bert").commit(files_of(tiny_bert_dir))
    keep = tmp_path / "a keep"
    document, _ = demo("org/bert", "--keep", keep)
    revised = document["rows"][3]
    assert revised["details"]["changed"] == ["README.md"]
    assert revised["bytes_fetched"] == 0
    assert 0 < revised["bytes_stored"] < 100
    assert (keep / "store" / "STORE.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if "demo" in path.name) == []


def test_people_get_a_table(hub: Hub, temporary: Path, tiny_bert_dir: Path) -> None:
    hub.repo("org/bert").commit(files_of(tiny_bert_dir))
    with start("org/bert") as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert [line[:1] for line in out.splitlines()] == ["S", "1", "2", "3", "4", "5", "t"]
    assert "0 network calls" in out
    assert "5/5 verify" in err


def test_a_step_that_fails_is_named(hub: Hub, temporary: Path) -> None:
    document, err = demo("org/none", code=1)
    assert document["error"]["kind"] == "step_failed"
    assert "step 1, first get: " in err
    assert "org/none" in err
    assert list(temporary.iterdir()) == []


def test_weights_that_compute_something_else_are_not_accepted(
    hub: Hub, temporary: Path, tiny_bert_dir: Path
) -> None:
    hub.repo(MINILM).commit(files_of(tiny_bert_dir))
    _, err = demo(code=1)
    assert "step 3, load offline: the sentences have a cosine similarity of" in err
    assert list(temporary.iterdir()) == []


def test_what_cannot_be_loaded_fails_in_its_step(hub: Hub, temporary: Path) -> None:
    hub.repo("org/bytes").commit({"config.json": b"{}", "model.safetensors": b"no weights"})
    _, err = demo("org/bytes", code=1)
    assert "step 3, load offline: the loader ended with 1: " in err
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_an_interrupted_demo_leaves_nothing(
    hub: Hub, temporary: Path, number: signal.Signals, code: int
) -> None:
    hub.repo("org/large").commit({"config.json": b"{}", "model.safetensors": os.urandom(4 << 20)})
    hub.rate_limit_per_connection(10_000)
    with start("org/large") as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("1/5")
        while not hub.matching("*model.safetensors", method="GET"):
            assert process.poll() is None
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == code
    assert list(temporary.iterdir()) == []


def test_without_the_libraries_it_says_how_to_get_them(temporary: Path) -> None:
    done = subprocess.run(
        [python_of("0.36.2"), "-m", "modelkeep", "demo"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "modelkeep[torch]" in done.stderr
