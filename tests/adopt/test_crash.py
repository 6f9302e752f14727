"""kill -9 after every step: the cache loads, and the same command or an undo goes on from there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from modelkeep.keep import Keep
from modelkeep.store.verify import verify
from tests import forks
from tests.adopt.conftest import IN_A, IN_B
from tests.adopt.support import adopt, loads, noted, shares_nothing, undo
from tests.caches import picture, write


class Site:
    """A fresh keep and cache for every kill."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.number = 0

    def fresh(self) -> tuple[Keep, Path, Path]:
        if self.number:
            shutil.rmtree(self.base / str(self.number))
        self.number += 1
        folder = self.base / str(self.number)
        keep = Keep.create(folder / "keep")
        first = write(folder / "first", *IN_B)
        adopt(keep, first)
        return keep, first, write(folder / "cache", *IN_A)

    def steps(self, act: Callable[[Keep, Path], object]) -> list[str]:
        """Where an adoption can be killed; what comes a second time is up to threads."""
        keep, _, cache = self.fresh()
        return forks.steps(partial(act, keep, cache), self.base / "log", last=False)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def killed(act: Callable[[], object], step: str) -> bool:
    return forks.start(act, sync=f"kill:{step}").killed()


def sound(keep: Keep) -> bool:
    return verify(keep.store, [digest for digest, _ in keep.store.blobs()]).ok


@pytest.mark.parametrize("merge", [False, True])
def test_adopt(site: Site, merge: bool) -> None:
    def act(keep: Keep, cache: Path) -> object:
        return adopt(Keep.open(keep.directory), cache, merge=merge)

    for step in site.steps(act):
        keep, first, cache = site.fresh()
        before = picture(cache)
        assert killed(partial(act, keep, cache), step), step

        assert loads(cache, IN_A), step
        assert loads(first, IN_B), step
        assert sound(keep), step
        act(keep, cache)
        assert loads(cache, IN_A), step
        assert cache.is_symlink() == merge, step
        assert sound(keep), step
        undo(keep, cache)
        assert picture(cache) == before, step
        assert shares_nothing(keep, cache), step


@pytest.mark.parametrize("merge", [False, True])
def test_undo_right_after_an_adoption_was_killed(site: Site, merge: bool) -> None:
    def act(keep: Keep, cache: Path) -> object:
        return adopt(Keep.open(keep.directory), cache, merge=merge)

    for step in site.steps(act):
        keep, first, cache = site.fresh()
        before = picture(cache)
        killed(partial(act, keep, cache), step)
        if noted(keep, cache):
            undo(keep, cache)

        assert picture(cache) == before, step
        assert shares_nothing(keep, cache), step
        assert loads(first, IN_B), step
        assert sound(keep), step


@pytest.mark.parametrize("merge", [False, True])
def test_undo(site: Site, merge: bool) -> None:
    def act(keep: Keep, cache: Path) -> object:
        return undo(Keep.open(keep.directory), cache)

    def ready() -> tuple[Keep, Path, Path, object]:
        keep, first, cache = site.fresh()
        before = picture(cache)
        adopt(keep, cache, merge=merge)
        return keep, first, cache, before

    keep, _, cache, _ = ready()
    for step in forks.steps(partial(act, keep, cache), site.base / "log"):
        keep, first, cache, before = ready()
        assert killed(partial(act, keep, cache), step), step

        assert loads(cache, IN_A), step
        if noted(keep, cache):
            undo(keep, cache)
        assert picture(cache) == before, step
        assert shares_nothing(keep, cache), step
        assert loads(first, IN_B), step
        assert sound(keep), step
