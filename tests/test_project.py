"""What the repository itself must hold: documents that are true, packages that are whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from modelkeep._version import __version__

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh-CN.md")
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?((?:modelkeep|make|uv) .*?)(?:\s+#.*)?$", re.MULTILINE)

# Written in pieces, so that this file does not contain what it forbids.
MACHINE_PATH = re.compile(r"(?<![\w.$}-])/(?:work|root|tmp/plan)" + "/")
REGISTRIES = ("pypi", "pythonhosted", "pytorch", "debian")
OPTIONS = ("index", "url"), ("find", "links")
REGISTRY = re.compile(
    "|".join(
        [
            *(rf"\b{re.escape('.'.join((name, 'org')))}\b(?!/project)" for name in REGISTRIES),
            *(rf"--[a-z-]*{'-'.join(words)}" for words in OPTIONS),
            re.escape(".".join(("[[tool", "uv", "index]]"))),
        ]
    )
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def tracked_texts() -> dict[str, str]:
    listed = run("git", "-c", "safe.directory=*", "ls-files", "-z")
    assert listed.returncode == 0, listed.stderr
    texts = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            texts[name] = path.read_bytes().decode("utf-8", errors="ignore")
    return texts


def matches(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in tracked_texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_package_registry() -> None:
    assert matches(REGISTRY) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert matches(MACHINE_PATH) == []


@pytest.mark.parametrize(
    "line",
    [
        *(f"https://download.{name}{'.'}org/simple" for name in REGISTRIES),
        *(f"uv pip --extra-{'-'.join(words)}=x" for words in OPTIONS),
    ],
)
def test_a_package_registry_would_be_found(line: str) -> None:
    assert REGISTRY.search(line)


@pytest.mark.parametrize("line", ["cd /wo" + "rk/main", "HOME='/ro" + "ot/x'"])
def test_a_path_of_one_machine_would_be_found(line: str) -> None:
    assert MACHINE_PATH.search(line)


def test_both_readmes_name_the_same_commands() -> None:
    english, chinese = (
        [
            command.strip()
            for block in FENCED.findall((ROOT / name).read_text(encoding="utf-8"))
            for command in COMMAND.findall(block)
        ]
        for name in READMES
    )
    assert english
    assert english == chinese


def test_the_readmes_link_to_each_other() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in READMES)
    assert "(README.zh-CN.md)" in english
    assert "(README.md)" in chinese


def test_make_targets_in_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for name in (*READMES, "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        named = {
            match
            for block in FENCED.findall(text)
            for match in re.findall(r"^(?:\$ )?make ([a-z-]+)", block, re.MULTILINE)
        }
        assert named <= targets


def test_the_help_in_the_readmes_is_what_the_command_prints() -> None:
    checked = run(sys.executable, "scripts/readme_help.py", "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_changelog_knows_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert __version__ in headings


def test_constraints_pin_names_and_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9.-]+==[\w.]+", line)] == []
    assert pins == sorted(set(pins))


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["torch"],
        *project["dependency-groups"]["test"],
    ]
    names = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in wanted}
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {line.partition("==")[0] for line in text.splitlines()}
    # Every environment has its own version of the Hub's client, see the Makefile.
    assert names - pinned == {"huggingface-hub"}


def test_the_command_prints_its_version_without_loading_what_is_slow() -> None:
    program = (
        "import sys; sys.argv = ['modelkeep', '--version'];"
        "from modelkeep.cli import main; sys.exit(main())"
    )
    shown = run(sys.executable, "-X", "importtime", "-c", program)
    assert shown.returncode == 0, shown.stderr
    assert __version__ in shown.stdout
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in shown.stderr.splitlines()
    }
    assert "modelkeep" in imported
    assert imported & {"huggingface_hub", "rich", "urllib3", "asyncio", "torch"} == set()


@pytest.mark.parametrize(
    "module",
    [
        "modelkeep",
        "modelkeep.errors",
        "modelkeep.settings",
        "modelkeep.cli",
        "modelkeep.runtime.environment",
    ],
)
def test_a_module_on_the_start_up_path_imports_nothing_slow(module: str) -> None:
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    shown = run(sys.executable, "-c", program)
    assert shown.returncode == 0, shown.stderr
    loaded = set(shown.stdout.split())
    assert loaded & {"huggingface_hub", "rich", "urllib3", "asyncio", "torch"} == set()
