"""Keeps an eye on a damaged file that may be replaced: do other names still lead to it?"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from modelkeep.store.digest import Digest
from modelkeep.store.report import Unverifiable


class Former:
    """The inode that a path has when the block begins. Holds it open, so that it can be counted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._descriptor = os.open(self._path, flags)
        except OSError:
            self._descriptor = None  # missing, or nothing that could be shared
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)

    def names_left(self) -> int:
        """Return how many names the inode still has, 0 while the path is one of them."""
        if self._descriptor is None:
            return 0
        status = os.fstat(self._descriptor)
        try:
            if os.path.samestat(status, self._path.lstat()):
                return 0
        except OSError:
            pass  # the path is gone, the others may not be
        return status.st_nlink

    def unhealed(self, digest: Digest, path: Path) -> Unverifiable | None:
        """Return what to say of names nobody knows that still have the bad bytes."""
        left = self.names_left()
        if not left:
            return None
        assert self._descriptor is not None
        return names_elsewhere(digest, path, left, os.fstat(self._descriptor).st_uid)


def names_elsewhere(digest: Digest, path: Path, names: int, owner: int) -> Unverifiable:
    """Return what to say of unknown names that shared a file's inode until it was replaced."""
    them = "1 more name of its former inode, elsewhere, keeps"
    if names > 1:
        them = f"{names} more names of its former inode, elsewhere, keep"
    return Unverifiable(
        digest,
        str(path),
        f"it is good again, but {them} the bad bytes: find them with"
        f" modelkeep verify --cache DIR, as uid {owner} or root",
    )
