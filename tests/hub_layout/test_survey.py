"""Other caches are looked at, and one that cannot be looked at stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkeep.hub.survey import CacheSurvey, survey
from tests import forks

STRANGER = 4242


def test_what_is_no_cache_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert survey([tmp_path / name for name in ("file", "empty", "missing")], None) == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
@pytest.mark.parametrize("closed", ["cache", "cache/models--org--name"])
def test_what_this_caller_cannot_read_is_reported(tmp_path: Path, closed: str) -> None:
    (tmp_path / "cache/models--org--name/snapshots").mkdir(parents=True)
    (tmp_path / closed).chmod(0o700)
    tmp_path.chmod(0o755)

    def look() -> tuple[CacheSurvey, ...]:
        os.chdir(tmp_path)  # the folders above are closed as well
        os.setuid(STRANGER)
        return survey([Path("cache")], None)

    (found,) = forks.run(look)
    assert found == CacheSurvey(Path("cache"), "root", 0, 0, 0, needs_root=True)
