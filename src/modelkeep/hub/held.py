"""What a cache holds of a revision, and a clear word where it holds nothing."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep.errors import NotFoundError
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import DEFAULT_REVISION, Repo
from modelkeep.hub.tree import TreeFile


@dataclass(frozen=True, slots=True)
class Held:
    """A revision in a cache: its refs, what it should hold, and the files that are there."""

    repo: Repo
    commit: str
    refs: tuple[str, ...]
    tree: tuple[TreeFile, ...]
    files: tuple[TreeFile, ...]


def find(hub: HubCache, repo: Repo, revision: str | None) -> Held:
    """Return what is there of a revision, the default one for None; NotFoundError for nothing."""
    commit = hub.resolve(repo, revision or DEFAULT_REVISION)
    if commit is None:
        missing = f"`{repo}`" if revision is None else f"`{repo}@{revision}`"
        raise NotFoundError(
            f"{missing} is not in the keep",
            hint=f"get it: modelkeep pull {repo}" + (f"@{revision}" if revision else ""),
        )
    tree = hub.tree(repo, commit) or ()
    lacking = {file.path for file in hub.missing(repo, commit) or ()}
    refs = tuple(ref for ref, held in hub.refs(repo).items() if held == commit)
    files = tuple(file for file in tree if file.path not in lacking)
    return Held(repo, commit, refs, tree, files)
