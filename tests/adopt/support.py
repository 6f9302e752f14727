"""What the tests of adopting do again and again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from modelkeep.hub.adopt.journal import journals
from modelkeep.hub.adopt.plan import Adopted
from modelkeep.hub.adopt.undo import Undone
from modelkeep.keep import Keep
from tests.caches import Revision


def adopt(keep: Keep, *caches: Path, merge: bool = False, share: bool = True) -> list[Adopted]:
    plans = keep.plan_adoption(caches, merge=merge, share=share)
    return [keep.adopt(plan) for plan in plans]


def undo(keep: Keep, *caches: Path) -> list[Undone]:
    return [keep.undo(plan) for plan in keep.plan_undo(caches)]


def loads(cache: Path, revisions: Iterable[Revision]) -> bool:
    """Whether every file of the revisions has its bytes where a client opens it, by its ref."""
    for revision in revisions:
        folder = cache / revision.folder
        assert (folder / "refs/main").read_text() == revision.commit
        for path, data in revision.files.items():
            assert (folder / "snapshots" / revision.commit / path).read_bytes() == data
    return True


def noted(keep: Keep, cache: Path) -> bool:
    """Whether there is something to undo of a cache."""
    return any(journal.cache == cache and not journal.undone for journal in journals(keep.store))


def shares_nothing(keep: Keep, cache: Path) -> bool:
    """Whether no file of a cache is an inode of the store."""
    stored = {status.st_ino for _, status in keep.store.blobs()}
    return not any(
        path.lstat().st_ino in stored for path in cache.rglob("*") if not path.is_symlink()
    )
