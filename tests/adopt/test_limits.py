"""What adopting and undoing refuse, and what they do not mind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkeep.errors import UsageError
from modelkeep.keep import Keep
from tests.adopt.conftest import IN_A
from tests.adopt.support import adopt, loads, undo
from tests.caches import picture


def test_undo_does_not_mind_another_time(keep: Keep, a: Path) -> None:
    before = picture(a).groups
    adopt(keep, a)
    for path in a.glob("*/blobs/*"):
        os.utime(path)

    undo(keep, a)

    assert loads(a, IN_A)
    assert picture(a).groups == before


def test_a_cache_named_twice_is_adopted_once(keep: Keep, a: Path) -> None:
    home = a.parent / "hf-home"
    home.mkdir()
    a.rename(home / "hub")

    assert len(keep.plan_adoption([home, home / "hub"], share=True)) == 1


def test_what_a_merge_set_aside_is_no_cache(keep: Keep, a: Path) -> None:
    (adopted,) = adopt(keep, a, merge=True)
    assert adopted.set_aside is not None

    with pytest.raises(UsageError, match="what a merge left"):
        keep.plan_adoption([adopted.set_aside])


def test_a_folder_in_place_of_the_link_is_told(keep: Keep, a: Path) -> None:
    adopt(keep, a, merge=True)
    a.unlink()
    a.mkdir()

    with pytest.raises(UsageError, match="no longer the link"):
        undo(keep, a)
