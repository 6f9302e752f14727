"""Values of any kind come back from the shells to the letter."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys

import pytest

from modelkeep.errors import UsageError
from modelkeep.runtime import shells

VALUES = {
    "PLAIN": "/srv/models/hub",
    "SPACES": "  a keep ",
    "QUOTES": 'it\'s "quoted" `here` \u2019there\u2018',
    "DOLLARS": "$HOME ${HOME} $(id) %PATH% !x",
    "BACKSLASHES": r"a\b\\c\'",
    "TWO_LINES": "one\ntwo",
    "GLOBS": "*?[a]~ # ; & | < >",
    "EQUALS": "a=b",
    "UMLAUT": "Größe 模型",
    "DASH": "-n",
}
PRINT = f"{shlex.quote(sys.executable)} -c 'import json, os; print(json.dumps(dict(os.environ)))'"


def comes_back(*command: str) -> None:
    """A shell that was given the lines hands every value on, and not what was unset."""
    done = subprocess.run(
        command,
        env={"GONE": "1", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    environ = json.loads(done.stdout)
    assert {name: environ.get(name) for name in VALUES} == VALUES
    assert "GONE" not in environ


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh"])
def test_sh_reads_back_every_value(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = "\n".join(shells.lines(VALUES, ["GONE"], "sh"))
    comes_back(shell, "-c", f'eval "$1"; exec {PRINT}', "sh", script)


def test_fish_reads_back_every_value() -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = "\n".join(shells.lines(VALUES, ["GONE"], "fish"))
    comes_back("fish", "--no-config", "-c", f"{script}\nexec {PRINT}")


def test_powershell_reads_back_every_value() -> None:
    if shutil.which("pwsh") is None:
        pytest.skip("pwsh is not installed")
    script = "\n".join(shells.lines(VALUES, ["GONE"], "powershell"))
    done = subprocess.run(
        ["pwsh", "-NoProfile", "-Command", f"{script}\nGet-ChildItem Env: | ConvertTo-Json"],
        env={"GONE": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    environ = {entry["Name"]: entry["Value"] for entry in json.loads(done.stdout)}
    assert {name: environ.get(name) for name in VALUES} == VALUES


def test_powershell_doubles_every_quote_it_takes_for_one() -> None:
    (line,) = shells.lines({"A": "it's \u2018x\u2019"}, [], "powershell")
    assert line == "$env:A = 'it''s \u2018\u2018x\u2019\u2019'"


def test_docker_gets_the_lines_of_an_env_file() -> None:
    values = {name: value for name, value in VALUES.items() if "\n" not in value}
    lines = shells.lines(values, ["GONE"], "docker")
    assert lines == [f"{name}={value}" for name, value in values.items()]
    with pytest.raises(UsageError, match="env file"):
        shells.lines(VALUES, [], "docker")
