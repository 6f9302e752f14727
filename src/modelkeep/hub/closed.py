"""A repo that lies in a shared cache and does not let this caller in.

That happens where a client with a umask of 077 made its folder on a file system without ACLs. Only
the folder's owner, or root, can open it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import AccessError
from modelkeep.fs import accounts
from modelkeep.fs.oserrors import opening
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo


@dataclass(frozen=True, slots=True)
class ClosedRepo:
    """A repo with a folder that is closed to this caller, whose that is, and what opens it."""

    repo: str
    type: str
    path: Path
    owner: str
    fix: str


def describe(hub: HubCache, repo: Repo, refused: AccessError) -> ClosedRepo:
    """Return what is to be said of a repo that could not be looked at."""
    cause = refused.__cause__
    named = cause.filename if isinstance(cause, OSError) else None
    path = _outermost(hub.folder(repo), Path(os.fsdecode(named or hub.folder(repo))))
    owner = accounts.user(path.lstat().st_uid)
    return ClosedRepo(repo.id, repo.type.value, path, owner, opening(path))


def refusal(closed: ClosedRepo) -> AccessError:
    """Return the error for who asked for this very repo."""
    mode = stat.S_IMODE(closed.path.lstat().st_mode)
    return AccessError(
        f"`{closed.path}` belongs to {closed.owner} and is closed to you (mode {mode:o})",
        hint=f"{closed.owner}, or root, opens it: {closed.fix}",
        path=closed.path,
    )


def _outermost(top: Path, refused: Path) -> Path:
    """Return the folder that lets nobody in; a call names what it did not get to."""
    for folder in (top, *reversed(refused.parents)):
        if folder.is_relative_to(top) and not os.access(folder, os.R_OK | os.X_OK):
            return folder
    return refused
