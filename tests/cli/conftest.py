"""The real command in a process of its own, as a person or a script runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.hub import Hub, Repository

COMMAND = Path(sys.executable).with_name("modelkeep")
SECRET = "hf_secretThatNobodyMaySee"


@dataclass(frozen=True)
class Result:
    """How a run ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        assert document["schema"] == 1
        return document

    @property
    def repos(self) -> list[dict[str, Any]]:
        repos: list[dict[str, Any]] = self.document["repos"]
        return repos

    @property
    def error(self) -> dict[str, Any]:
        """What stands under `error`, all of whose fields are always there."""
        error: dict[str, Any] = self.document["error"]
        assert set(error) == {"kind", "message", "hint", "path", "errno", "exit_code"}
        assert error["exit_code"] == self.code
        return error


class Modelkeep(Protocol):
    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result: ...


@pytest.fixture
def modelkeep(keep_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Modelkeep:
    """Run the command on a keep of the test's own. No run may show a traceback or the token."""
    monkeypatch.setenv("MODELKEEP_HOME", str(keep_dir))
    monkeypatch.setenv("HF_TOKEN", SECRET)

    def run(
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            env={**os.environ, **(env or {})},
            cwd=cwd or tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert SECRET not in done.stdout + done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def hub(hub: Hub) -> Hub:
    """A stand-in Hub that knows the token."""
    hub.token(SECRET)
    return hub


@pytest.fixture
def pulled(modelkeep: Modelkeep, hub: Hub, tiny_repo: Repository) -> Result:
    """`org/tiny` is in the keep: what the pull printed, as JSON."""
    result = modelkeep("pull", "org/tiny", "--format", "json")
    assert result.code == 0, result.err
    return result
