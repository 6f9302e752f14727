"""Days that pass: nobody can change when an inode changed, so the clock is what moves."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from modelkeep.fs.clock import now_ns
from modelkeep.hub.removal import collect
from modelkeep.store import inventory, sweep
from modelkeep.store.sweep import DAY_NS


class Later(Protocol):
    def __call__(self, days: float) -> None: ...


def stopped_clock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Later:
    """Return what stops the clock of collections so many days after it is called."""

    def pass_by(days: float) -> None:
        moment = now_ns(folder) + int(days * DAY_NS)
        for module in (sweep, inventory, collect):
            monkeypatch.setattr(module, "now_ns", lambda _: moment)

    return pass_by
