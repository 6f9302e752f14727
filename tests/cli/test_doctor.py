"""`modelkeep doctor`: what people read, what scripts read, and what `--fix` does."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from modelkeep.runtime.doctor import CHECKS
from tests.cli.conftest import Modelkeep


@pytest.fixture
def at_home(keep_dir: Path) -> dict[str, str]:
    """Variables under which loaders use the keep, and nothing is shared."""
    return {"HF_HUB_CACHE": str(keep_dir / "hub")}


def test_a_fresh_keep_is_well(
    modelkeep: Modelkeep, keep_dir: Path, at_home: dict[str, str]
) -> None:
    assert modelkeep("init", keep_dir).code == 0
    result = modelkeep("doctor", "--format", "json", env=at_home)
    assert result.code == 0
    checks = result.document["checks"]
    assert [check["id"] for check in checks] == [check.id for check in CHECKS]
    for check in checks:
        assert set(check) == {"id", "area", "status", "evidence", "fix", "fixable", "docs"}
        assert check["status"] in ("ok", "skip")
        assert check["id"].startswith(f"{check['area']}.")
        assert check["docs"].startswith("docs/reference/checks.md#")
    shown = modelkeep("doctor", env=at_home)
    assert shown.out.splitlines()[-1].startswith(f"{len(CHECKS)} checks: ")
    assert "0 warnings, 0 failed" in shown.out
    assert modelkeep("doctor", "--format", "quiet", env=at_home).out == ""


def test_what_is_wrong_comes_with_its_fix_and_ends_with_1(
    modelkeep: Modelkeep, keep_dir: Path
) -> None:
    assert modelkeep("init", keep_dir).code == 0
    (keep_dir / "keep.toml").write_text("mode = 1\n")
    result = modelkeep("doctor", "keep")
    assert result.code == 1
    line = next(line for line in result.out.splitlines() if "keep.settings" in line)
    assert line.startswith("fail  keep.settings ")
    assert modelkeep("doctor", "keep", "--format", "quiet").out == "keep.settings\n"
    areas = {
        check["area"]
        for check in modelkeep("doctor", "keep", "--format", "json").document["checks"]
    }
    assert areas == {"keep"}
    assert modelkeep("doctor", "loaders").code == 0
    assert modelkeep("doctor", "kidneys").code == 2


def test_a_place_without_a_keep_is_no_traceback(modelkeep: Modelkeep, keep_dir: Path) -> None:
    result = modelkeep("doctor")
    assert result.code == 1
    assert "modelkeep init" in result.out
    assert not keep_dir.exists()
    assert modelkeep("doctor", env={"MODELKEEP_HOME": ""}).code == 0


def test_fix_says_what_it_would_do_and_does_it(
    modelkeep: Modelkeep, keep_dir: Path, at_home: dict[str, str]
) -> None:
    assert modelkeep("init", keep_dir).code == 0
    trash = keep_dir / "store/trash"
    (keep_dir / "store/meta/ab").rmdir()
    trash.chmod(0o777)
    plan = modelkeep("doctor", "--fix", "--dry-run", "--format", "json", env=at_home)
    assert plan.code == 1
    assert plan.document["dry_run"] is True
    assert {each["id"] for each in plan.document["fixed"]} == {"keep.folders", "keep.modes"}
    assert not any(each["done"] for each in plan.document["fixed"])
    assert not (keep_dir / "store/meta/ab").exists()

    result = modelkeep("doctor", "--fix", env=at_home)
    assert result.code == 0
    assert f"done   make {keep_dir}/store/meta/ab" in result.out
    assert stat.S_IMODE(trash.stat().st_mode) == 0o775
    assert modelkeep("doctor", "--fix", "--format", "json", env=at_home).document["fixed"] == []
    assert modelkeep("doctor", "--dry-run").code == 2
