"""Children that are killed at a named step of a protocol."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from modelkeep.fs.syncpoint import VARIABLE


def run_until(wish: str, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python source in a child whose syncpoints obey the wish."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {VARIABLE: wish},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def steps_of(script: str, *arguments: object, log: Path) -> list[str]:
    """Return the steps the script reaches when nothing happens to it."""
    done = run_until(f"log:{log}", script, *arguments)
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines()


def kill_at(step: str, script: str, *arguments: object) -> None:
    """Run the script and let it die at the step."""
    done = run_until(f"kill:{step}", script, *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr
