"""A command never makes room for one of its models by evicting another of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.keep import Keep
from tests.cli.conftest import Modelkeep
from tests.hub import Hub
from tests.models import random_bytes

MIB = 1 << 20
NAMES = ("org/a", "org/b", "org/c")


@pytest.fixture
def small(hub: Hub, keep_dir: Path) -> Keep:
    """A keep with room for two of the models `org/a`, `org/b`, `org/c`, one of them evictable."""
    for number, name in enumerate(NAMES):
        hub.repo(name).commit({"config.json": b"{}", "w.bin": random_bytes(2 * MIB, number)})
    keep = Keep.create(keep_dir)
    (keep.directory / "keep.toml").write_text('mode = "private"\nbudget = "5MB"\nevict = true\n')
    return Keep.open(keep_dir)


def there(keep: Keep) -> list[str]:
    return [listed.repo for listed in keep.list().repos]


def test_a_pull_of_too_many_keeps_the_first_and_refuses_the_last(
    small: Keep, modelkeep: Modelkeep
) -> None:
    result = modelkeep("pull", *NAMES)
    assert result.code == 6
    assert "pulling `org/c` needs" in result.err
    assert there(small) == ["org/a", "org/b"]
    assert small.leases().leases == ()


def test_what_the_pull_does_not_name_goes(small: Keep, modelkeep: Modelkeep) -> None:
    small.pull("org/c")
    result = modelkeep("pull", "org/a", "org/b")
    assert result.code == 0
    assert there(small) == ["org/a", "org/b"]


def test_exec_fetches_nothing_at_the_cost_of_its_other_models(
    small: Keep, modelkeep: Modelkeep
) -> None:
    small.pull("org/b")
    small.pull("org/c")
    models = [word for name in NAMES for word in ("--model", name)]
    result = modelkeep("exec", *models, "--fetch", "--", "echo", "ran")
    assert result.code == 125
    assert "ran" not in result.out
    assert there(small) == ["org/b", "org/c"]
