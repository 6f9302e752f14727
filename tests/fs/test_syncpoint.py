"""Points where tests stop or kill a process; nothing happens there otherwise."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import modelkeep
from modelkeep.fs import syncpoint
from tests.fs.crash import run_until

TWICE = """
from modelkeep.fs.syncpoint import reach
for step in ("a:one", "a:two", "a:one"):
    reach(step); print(step, flush=True)
"""


def test_nothing_happens_without_a_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(syncpoint.VARIABLE, raising=False)

    syncpoint.reach("a:one")


def test_steps_are_logged_in_order(tmp_path: Path) -> None:
    run_until(f"log:{tmp_path / 'log'}", TWICE)

    assert (tmp_path / "log").read_text() == "a:one\na:two\na:one\n"


@pytest.mark.parametrize(
    ("wish", "printed"),
    [("kill:a:one", ""), ("kill:a:two", "a:one\n"), ("kill:a:one#2", "a:one\na:two\n")],
)
def test_a_process_is_killed_where_it_was_asked_for(wish: str, printed: str) -> None:
    done = run_until(wish, TWICE)

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, printed)


def test_a_step_never_reached_kills_nobody() -> None:
    assert run_until("kill:a:three", TWICE).returncode == 0


def test_a_stopped_process_goes_on_when_told_to() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TWICE],
        env=os.environ | {syncpoint.VARIABLE: "stop:a:two"},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        child.send_signal(signal.SIGCONT)
        printed, _ = child.communicate(timeout=30)

    assert printed == "a:one\na:two\na:one\n"


def test_an_unknown_wish_is_a_mistake() -> None:
    assert "no action `boil`" in run_until("boil:a:one", TWICE).stderr


def test_the_documentation_lists_the_steps_of_this_package() -> None:
    sources = Path(modelkeep.__file__).parent.joinpath("fs").glob("*.py")
    reached = {
        step for path in sources for step in re.findall(r'reach\("([a-z:]+)"\)', path.read_text())
    }

    documented = set(re.findall(r"^    ([a-z]+:[a-z]+)  +\S", syncpoint.__doc__ or "", re.M))
    assert documented == reached
