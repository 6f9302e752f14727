"""Finds what a cache notes about a repo and no client can read: its refs, and its trees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from modelkeep.fs import folders
from modelkeep.fs.reading import read_small
from modelkeep.hub import tree
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo, is_commit

_CURE = "offline clients fail with it; pull or download the repo again"


def damaged(hub: HubCache, repo: Repo, commit: str | None = None) -> Iterator[tuple[Path, str]]:
    """Yield the damaged notes of a repo, or those of one commit, each with what is wrong with it.

    What the caller may not read is passed over.
    """
    folder = hub.folder(repo)
    for name, path in _files(folder / "refs") if commit is None else ():
        with suppress(OSError):
            if not is_commit(read_small(path).decode("ascii", "replace")):
                yield path, f"the ref `{name}` names no commit; {_CURE}"
    for name, path in _files(folder / "trees"):
        if name.endswith(".json") and commit in (None, name.removesuffix(".json")):
            with suppress(OSError):
                if tree.is_damaged(read_small(path)):
                    yield path, f"it is no listing of a commit; {_CURE}"


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Return the regular files below a folder by their path in it."""
    with suppress(OSError):
        _, found = folders.walk(f"{folder}")
        return sorted(
            (name, Path(entry.path))
            for name, entry in found.items()
            if entry.is_file(follow_symlinks=False)
        )
    return []
