"""What the tests of the runtime share: a keep, and modelkeep as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from modelkeep.keep import Keep

MODELKEEP = (sys.executable, "-m", "modelkeep")

Modelkeep = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def keep(keep_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Keep:
    """An empty keep, which MODELKEEP_HOME names; nobody listens at HF_ENDPOINT."""
    monkeypatch.setenv("MODELKEEP_HOME", str(keep_dir))
    return Keep.create(keep_dir)


@pytest.fixture
def modelkeep() -> Modelkeep:
    """Run modelkeep with some arguments; stdout and stderr are text."""

    def run(
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if name not in without}
        return subprocess.run(
            [*MODELKEEP, *map(str, arguments)],
            env=environ | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )

    return run
