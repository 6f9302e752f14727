"""A keep, and two caches that have 60 % of their bytes in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.keep import Keep
from tests.caches import Revision, write
from tests.models import random_bytes

COMMON = random_bytes(3_000_000, 1)
ONLY_A = random_bytes(2_000_000, 2)
ONLY_B = random_bytes(2_000_000, 3)

IN_A = (
    Revision("org/one", {"config.json": b"{}", "deep/model.safetensors": COMMON}),
    Revision("org/two", {"config.json": b'{"of": "a"}', "a.bin": ONLY_A}),
)
IN_B = (
    Revision("org/fork", {"config.json": b"{}", "model.safetensors": COMMON}),
    Revision("org/three", {"config.json": b'{"of": "b"}', "b.bin": ONLY_B}),
)
CONTENTS = {b"{}", b'{"of": "a"}', b'{"of": "b"}', COMMON, ONLY_A, ONLY_B}


@pytest.fixture
def keep(keep_dir: Path) -> Keep:
    return Keep.create(keep_dir)


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return write(tmp_path / "a", *IN_A)


@pytest.fixture
def b(tmp_path: Path) -> Path:
    """Of a newer client, which has a store of its own for large files."""
    return write(tmp_path / "b", *IN_B, shared=True)
