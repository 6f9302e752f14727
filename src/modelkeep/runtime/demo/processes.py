"""Starts the processes of the demo and reads what they report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelkeep import settings
from modelkeep.errors import ModelkeepError
from modelkeep.hub.upstream import Upstream
from modelkeep.runtime.demo import loader
from modelkeep.runtime.environment import variables
from modelkeep.runtime.offline import Decision

# How a process loses its network, as root and as anybody else.
_ISOLATIONS = (("unshare", "--net"), ("unshare", "--map-root-user", "--net"))
_LINES_SHOWN = 5


class ChildError(ModelkeepError):
    """A process of the demo failed, for reasons that its message gives."""

    kind = "child"

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class Processes:
    """Runs one process at a time, with a keep for all of them.

    What libraries leave behind (torch does, in the temporary folder) goes to `work`.
    """

    def __init__(self, keep: Path, work: Path) -> None:
        self._keep = keep
        self._work = work
        self._environ = {**os.environ, "TMPDIR": str(work)}

    def upstream(self) -> Upstream:
        """Return the endpoint that the keep fetches from."""
        decided = settings.endpoint(settings.read_keep_settings(self._keep))
        return Upstream(decided.value if decided else None)

    def modelkeep(self, *arguments: str) -> tuple[dict[str, Any], float]:
        """Run a command on the keep; return its document and how many seconds it took."""
        shared = ("--keep", str(self._keep), "--format", "json")
        done, seconds = _run(
            [sys.executable, "-P", "-m", "modelkeep", *arguments, *shared], self._environ
        )
        try:
            document: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise _failure(f"modelkeep {arguments[0]}", done) from None
        if "error" in document:
            error = document["error"]
            raise ChildError(error["message"], hint=error["hint"], exit_code=error["exit_code"])
        if done.returncode:
            raise _failure(f"modelkeep {arguments[0]}", done)
        return document, seconds

    def loader(self, repo: str, revision: str, result: Path) -> tuple[dict[str, Any], float, bool]:
        """Load a model with stock libraries, offline.

        Returns what the loader reports, its seconds, and whether the system let us take the network
        away from it, so that even code outside Python could not have used one.
        """
        environ = {**self._environ, "HF_HOME": str(self._work / "home")}
        environment = variables(
            str(self._keep), offline=Decision(True, "the demo shows it"), environ=environ
        )
        isolation = next((words for words in _ISOLATIONS if _works(words)), ())
        program = str(Path(loader.__file__))
        done, seconds = _run(
            [*isolation, sys.executable, "-P", program, repo, revision, str(result)],
            environment.applied(environ),
        )
        if done.returncode:
            raise _failure("the loader", done)
        document: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return document, seconds, bool(isolation)


def _run(
    command: Sequence[str], environ: Mapping[str, str]
) -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.monotonic()
    done = subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done, time.monotonic() - began


def _works(isolation: Sequence[str]) -> bool:
    try:
        return _run([*isolation, "true"], os.environ)[0].returncode == 0
    except FileNotFoundError:
        return False


def _failure(what: str, done: subprocess.CompletedProcess[str]) -> ChildError:
    said = "\n".join(done.stderr.strip().splitlines()[-_LINES_SHOWN:])
    code = done.returncode if 0 < done.returncode < 128 else 1
    return ChildError(f"{what} ended with {done.returncode}: {said}", exit_code=code)
