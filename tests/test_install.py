"""What people install: the tool from a checkout, and the built package."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from modelkeep._version import __version__

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "constraints.txt"
LIGHT = 150 * 1024 * 1024
HEAVY = {"torch", "transformers", "numpy", "sentence_transformers"}


@pytest.fixture(scope="session")
def outer_environment() -> dict[str, str]:
    """The environment before a test moved HOME: where uv finds its cache and its settings."""
    return dict(os.environ)


def uv(*arguments: str | Path, env: dict[str, str]) -> None:
    """Runs uv in the checkout, with the pinned versions."""
    done = subprocess.run(
        [ROOT / "scripts" / "uv", *arguments, "--build-constraints", PINS],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.real
def test_the_tool_installs_from_a_checkout_and_is_light(
    tmp_path: Path, outer_environment: dict[str, str]
) -> None:
    tools, commands = tmp_path / "tools", tmp_path / "commands"
    folders = {"UV_TOOL_DIR": str(tools), "UV_TOOL_BIN_DIR": str(commands)}
    python = ("--python", sys.executable)
    uv("tool", "install", ".", *python, "--constraints", PINS, env=outer_environment | folders)

    shown = subprocess.run(
        [commands / "modelkeep", "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert __version__ in shown.stdout

    (packages,) = tools.glob("modelkeep/lib/python*/site-packages")
    assert {path.name for path in packages.iterdir()} & HEAVY == set()
    size = sum(path.lstat().st_size for path in packages.rglob("*"))
    assert size < LIGHT


@pytest.mark.real
def test_the_built_package_is_whole(tmp_path: Path, outer_environment: dict[str, str]) -> None:
    uv("build", "--wheel", ".", "--out-dir", tmp_path, env=outer_environment)
    (wheel,) = tmp_path.glob("*.whl")
    assert __version__ in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    package = {name for name in names if ".dist-info/" not in name}
    assert package == {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "modelkeep").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "modelkeep/py.typed" in package
