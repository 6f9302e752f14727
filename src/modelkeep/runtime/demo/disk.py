"""How much more of a disk is used after something than before."""

from __future__ import annotations

import os
from pathlib import Path

from modelkeep.fs.space import allocated_bytes


class Growth:
    """Watches the files in some folders from its creation on. An inode counts once."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._before = self._used()

    def bytes(self) -> int:
        """Return what the files that are new by now occupy; reflinks count in full."""
        return sum(size for inode, size in self._used().items() if inode not in self._before)

    def _used(self) -> dict[tuple[int, int], int]:
        found = {}
        for folder in self._folders:
            for base, _, names in os.walk(folder):
                for name in names:
                    try:
                        status = Path(base, name).lstat()
                    except FileNotFoundError:
                        continue
                    found[status.st_dev, status.st_ino] = allocated_bytes(status)
        return found
