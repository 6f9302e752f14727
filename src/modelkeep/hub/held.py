"""What a cache holds of a revision, and a clear word where it holds nothing."""

from __future__ import annotations

import os
from collections.abc import Container
from dataclasses import dataclass

from modelkeep.errors import NotFoundError
from modelkeep.fs.sameness import Identity, identity
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import DEFAULT_REVISION, Repo
from modelkeep.hub.tree import TreeFile
from modelkeep.store import badcopies
from modelkeep.store import meta as metas
from modelkeep.store.layout import StoreLayout


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
    commit = resolved(hub, repo, revision)
    tree = hub.tree(repo, commit) or ()
    lacking = {file.path for file in hub.missing(repo, commit) or ()}
    refs = tuple(ref for ref, held in hub.refs(repo).items() if held == commit)
    files = tuple(file for file in tree if file.path not in lacking)
    return Held(repo, commit, refs, tree, files)


def resolved(hub: HubCache, repo: Repo, revision: str | None) -> str:
    """Return the commit of a revision, the default one for None; NotFoundError as of `find`."""
    commit = hub.resolve(repo, revision or DEFAULT_REVISION)
    if commit is None:
        raise not_here(repo, revision)
    return commit


def not_here(repo: Repo, revision: str | None = None) -> NotFoundError:
    """Return the error for who asked for what the keep does not have."""
    name = f"{repo}@{revision}" if revision else str(repo)
    return NotFoundError(f"`{name}` is not in the keep", hint=f"get it: modelkeep pull {name}")


def is_complete(layout: StoreLayout, hub: HubCache, repo: Repo, commit: str) -> bool:
    """Tell whether a revision loads: every file is here, and none is known to be damaged."""
    return hub.missing(repo, commit) == [] and not damaged(layout, hub, repo, commit)


def damaged(layout: StoreLayout, hub: HubCache, repo: Repo, commit: str) -> list[str]:
    """Return the files of a revision that are known to be bad: marked so, or of a wrong size.

    Hashes nothing. Nothing is known where nobody noted what the commit should hold.
    """
    top = hub.snapshot(repo, commit)
    bad = badcopies.identities(layout)
    return [
        file.path
        for file in hub.tree(repo, commit) or ()
        if _is_damaged(layout, bad, file, f"{top}/{file.path}")
    ]


def _is_damaged(layout: StoreLayout, bad: Container[Identity], file: TreeFile, path: str) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116 - asked before every command of `exec`
    except OSError:
        return False  # missing, which is another matter
    return (
        status.st_size != file.size
        or identity(status) in bad
        or metas.is_marked(layout.meta_name(file.digest))
    )
