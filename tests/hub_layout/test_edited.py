"""A small file that somebody edited in the hub is kept before a pull puts the right one there."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from modelkeep.hub.progress import Progress
from modelkeep.keep import Keep
from tests.hub import Repository

EDIT = b'{"mine": true}'


class Notes(Progress):
    """Keeps what a person would be told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def write_through(file: Path) -> None:
    """As editors do that write into the file a link leads to."""
    file.resolve().chmod(0o600)
    file.write_bytes(EDIT)


def replace(file: Path) -> None:
    """As editors do that rename a new file into the place of the old one."""
    new = file.with_name("new")
    new.write_bytes(EDIT)
    new.replace(file)


@pytest.mark.parametrize("edit", [write_through, replace])
def test_it_is_kept_and_said(
    filled: Keep, tiny_repo: Repository, edit: Callable[[Path], None]
) -> None:
    file = filled.pull(tiny_repo.id).snapshot / "config.json"
    right = file.read_bytes()
    edit(file)
    notes = Notes()

    filled.pull(tiny_repo.id, progress=notes)

    assert file.read_bytes() == right
    (kept,) = filled.store.layout.trash.iterdir()
    assert kept.read_bytes() == EDIT
    assert stat.S_IMODE(kept.stat().st_mode) == 0o400
    (said,) = notes.said
    assert "config.json" in said
    assert str(kept) in said


def test_nothing_is_said_where_nobody_edited(filled: Keep, tiny_repo: Repository) -> None:
    notes = Notes()
    filled.pull(tiny_repo.id, progress=notes)
    assert notes.said == []
    assert not list(filled.store.layout.trash.iterdir())
