"""`uv tool install .` from a checkout: it works, and it is light."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from modelkeep._version import __version__

ROOT = Path(__file__).resolve().parent.parent
LIGHT = 150 * 1024 * 1024
HEAVY = {"torch", "transformers", "numpy", "sentence_transformers"}


@pytest.mark.real
def test_the_tool_installs_from_a_checkout_and_is_light(tmp_path: Path) -> None:
    tools, commands = tmp_path / "tools", tmp_path / "commands"
    environment = os.environ | {"UV_TOOL_DIR": str(tools), "UV_TOOL_BIN_DIR": str(commands)}
    installed = subprocess.run(
        [ROOT / "scripts" / "uv", "tool", "install", "--constraints", "constraints.txt", "."],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert installed.returncode == 0, installed.stderr

    shown = subprocess.run(
        [commands / "modelkeep", "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert __version__ in shown.stdout

    (packages,) = tools.glob("modelkeep/lib/python*/site-packages")
    assert {path.name for path in packages.iterdir()} & HEAVY == set()
    size = sum(path.lstat().st_size for path in packages.rglob("*"))
    assert size < LIGHT
