"""Help, completion and start-up: what is there before any command does anything."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest

from modelkeep.cli.commands import COMMANDS
from modelkeep.cli.options import Command
from tests.cli.conftest import COMMAND, Modelkeep, Result


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_is_its_own_short_help(name: str) -> None:
    command = importlib.import_module(f"modelkeep.cli.{COMMANDS[name].module}").command
    assert isinstance(command, Command)
    assert command.name == name
    assert COMMANDS[name].summary == command.get_short_help_str(limit=200)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples(name: str) -> None:
    command = importlib.import_module(f"modelkeep.cli.{COMMANDS[name].module}").command
    assert 1 <= len(command.examples) <= 4
    paragraphs = (command.help or "").strip().split("\n\n")
    assert len(paragraphs) >= 2, "a summary and a paragraph"
    with click.Context(command, info_name=name) as context:
        shown = command.get_help(context)
    for option in ("--keep", "--format", "--yes"):
        assert option in shown
    for example in command.examples:
        assert f"  {example}\n" in f"{shown}\n"
        assert "modelkeep" in example


def test_help_imports_no_command() -> None:
    program = (
        "import sys; sys.argv = ['modelkeep', '-h'];"
        "from modelkeep.cli import main; main();"
        "print(*(name for name in sys.modules if name.startswith('modelkeep.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded & {f"modelkeep.cli.{entry.module}" for entry in COMMANDS.values()} == set()


def test_h_is_help_everywhere(modelkeep: Modelkeep) -> None:
    for arguments in ((), ("pull",), ("rm",)):
        short, long = modelkeep(*arguments, "-h"), modelkeep(*arguments, "--help")
        assert short == long
        assert short.code == 0
        assert short.out.startswith("Usage: modelkeep")


def test_a_misspelt_command_names_the_nearest(modelkeep: Modelkeep) -> None:
    result = modelkeep("veryfy")
    assert result.code == 2
    assert result.err.splitlines()[0] == (
        "error: there is no command `veryfy`; did you mean `verify`?"
    )


def test_the_version_in_every_format(modelkeep: Modelkeep) -> None:
    plain = modelkeep("--version")
    assert plain.out.startswith("modelkeep ")
    version = plain.out.split()[1]
    assert modelkeep("--format", "json", "--version").document["version"] == version
    assert modelkeep("--format", "quiet", "--version").out == f"{version}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(modelkeep: Modelkeep, shell: str) -> None:
    result = modelkeep("completion", shell)
    assert result.code == 0
    assert "_MODELKEEP_COMPLETE" in result.out


def test_completion_knows_commands_and_the_repos_of_the_keep(
    modelkeep: Modelkeep, pulled: Result, keep_dir: Path
) -> None:
    def completed(words: str) -> list[str]:
        given = {
            "_MODELKEEP_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        lines = modelkeep(env=given).out.split()
        return [line.removeprefix("plain,") for line in lines]

    assert completed("modelkeep ver") == ["verify"]
    assert completed("modelkeep show or") == ["org/tiny"]
    assert completed("modelkeep where x") == []
    elsewhere = f"modelkeep --keep {keep_dir} rm o"
    assert completed(elsewhere) == ["org/tiny"]


def test_a_closed_stdout_ends_in_no_traceback(pulled: Result) -> None:
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f"exec {COMMAND} ls {closed}"], capture_output=True, text=True
        )
        assert done.returncode == 0
        assert "Traceback" not in done.stderr
