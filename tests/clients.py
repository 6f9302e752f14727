"""Stock Hugging Face clients of several versions, each run in a process of its own.

`MODELKEEP_TEST_CLIENTS="0.36.2=/path/to/python,1.33.0=/path/to/python"` says where the others are;
by default they are looked for in `.venv-hub036` and `.venv-hub133` beside the sources.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
_DEFAULT = "0.36.2=.venv-hub036/bin/python,1.33.0=.venv-hub133/bin/python"
_MARK = "\x1eresult:"


def _configured() -> dict[str, Path]:
    pairs = (os.environ.get("MODELKEEP_TEST_CLIENTS") or _DEFAULT).split(",")
    found = {name: ROOT / python for name, _, python in (p.strip().partition("=") for p in pairs)}
    return {version("huggingface_hub"): Path(sys.executable), **found}


CLIENTS: dict[str, Path] = _configured()
"""The interpreter of each huggingface_hub version; this process's own comes first."""


def python_of(client: str) -> Path:
    """The client's interpreter; where there is none the test is skipped, in CI it fails."""
    python = CLIENTS[client]
    if not python.exists():
        reason = f"huggingface_hub {client} is not at {python}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return python


def run_client(
    client: str,
    code: str,
    env: Mapping[str, str] | None = None,
    *,
    within: Sequence[str] = (),
    timeout: float = 120,
) -> Any:
    """What `code` assigns to `result` (JSON) when that client's interpreter runs it.

    `env` is laid over this process's environment; `within` is a command that runs another, such as
    `unshare -n`. A failure raises CalledProcessError, with the client's stderr as a note.
    """
    program = f"result = None\n{code}\nimport json\nprint({_MARK!r} + json.dumps(result))\n"
    done = _run([*within, str(python_of(client)), "-c", program], env, timeout)
    return json.loads(done.stdout.rpartition(_MARK)[2])


def run_hf(
    client: str, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run that client's `hf` command line."""
    hf = python_of(client).parent / "hf"
    return _run([str(hf), *arguments], env, timeout)


def _run(
    command: list[str], env: Mapping[str, str] | None, timeout: float
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note(f"{done.stdout}\n{done.stderr}")
        raise error
    return done
