"""What a caller wants to have pulled."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep.hub.repo import DEFAULT_REVISION, Repo
from modelkeep.hub.xet import XetUse


@dataclass(frozen=True, slots=True)
class Request:
    """What to get: a repo, a revision, and which of its files.

    `force` lets a branch that was made by `add` follow upstream again. `limit_rate` is in bytes a
    second, for all connections together. `xet` says which files the Xet library fetches instead.
    """

    repo: Repo
    revision: str = DEFAULT_REVISION
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    force: bool = False
    limit_rate: int | None = None
    xet: XetUse = XetUse.AUTO
