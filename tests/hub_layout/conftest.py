"""A fresh keep, and one that holds `org/tiny`."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.keep import Keep
from tests.hub import Repository


@pytest.fixture
def keep(keep_dir: Path) -> Keep:
    return Keep.create(keep_dir)


@pytest.fixture
def filled(keep: Keep, tiny_repo: Repository) -> Keep:
    keep.pull(tiny_repo.id)
    return keep
