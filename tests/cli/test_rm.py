"""`modelkeep rm` as a person types it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from modelkeep.fs import syncpoint
from tests.cli.conftest import COMMAND, Modelkeep, Result


def test_what_stays_after_all_ends_with_3(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    """The removal is stopped for so long that others went on and removed its mark."""
    with subprocess.Popen(
        [COMMAND, "rm", "org/tiny", "--yes"],
        env={**os.environ, syncpoint.VARIABLE: "stop:remove:announced"},
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert os.WIFSTOPPED(os.waitpid(run.pid, os.WUNTRACED)[1])
        for mark in (keep_dir / "store/condemned").iterdir():
            mark.unlink()
        run.send_signal(signal.SIGCONT)
        said, _ = run.communicate(timeout=60)

    assert "kept org/tiny@" in said
    assert run.returncode == 3
    assert [repo["repo"] for repo in modelkeep("ls", "--format", "json").repos] == ["org/tiny"]
