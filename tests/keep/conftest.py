"""What the tests of the facade share."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.keep import Keep


@pytest.fixture
def keep(keep_dir: Path) -> Keep:
    return Keep.create(keep_dir)
