"""Questions that tests ask of a keep."""

from __future__ import annotations

from pathlib import Path

from modelkeep.hub import held
from modelkeep.hub.held import Held
from modelkeep.hub.repo import parse
from modelkeep.keep import Keep


def held_by(keep: Keep, repo: str, revision: str | None = None) -> Held:
    """What the keep has of a revision."""
    name, _ = parse(repo)
    return held.find(keep.hub, name, revision)


def content(top: Path) -> dict[str, bytes]:
    """The files below a folder, links followed, by their path in it; raises for a dangling link."""
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in sorted(top.rglob("*"))
        if not path.is_dir()
    }


def loaded(keep: Keep, repo: str, revision: str | None = None) -> dict[str, bytes]:
    """The files of a revision as a loader finds them in the keep's hub."""
    found = held_by(keep, repo, revision)
    return content(keep.hub.snapshot(found.repo, found.commit))
