"""How many processors there are, also where the system does not tell which ones are ours."""

from __future__ import annotations

import os

import pytest

from modelkeep.fs.cores import cores
from modelkeep.hub.fetch.processors import Processors


def test_only_the_cores_that_this_process_may_use_count() -> None:
    assert cores() == len(os.sched_getaffinity(0))


def test_without_that_call_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    assert cores() == 2
    assert Processors(0.0, 0.0).busy(1.0, 2.0)
