"""Where everything in a store lies: the on-disk format, version 1, as paths.

`docs/format.md` is the normative text. Nothing here touches the disk.
"""

from __future__ import annotations

from pathlib import Path

from modelkeep.fs import sharing
from modelkeep.store.digest import GIT_SHA1, SHA256, Digest

FORMAT = 1


class StoreLayout:
    """Paths of a store below its root directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.header = root / "STORE.json"
        self.blobs = root / "blobs"
        self.metas = root / "meta"
        self.uses = root / "used"
        self._metas, self._uses = str(self.metas), str(self.uses)
        self.roots = root / "roots"
        self.leases = root / "leases"
        self.condemned_marks = root / "condemned"
        self.trash = root / "trash"
        self.tmp = root / "tmp"
        self.partials = self.tmp / "fetch"
        self.locks = root / "locks"
        self.journals = root / "journals"
        self.bad = root / "bad"
        self.checked = root / "checked"
        self.ballast = root / "ballast"

    def fixed(self) -> list[Path]:
        """Return the directories in which no name ever changes once the store is made."""
        return [self.blobs, *self._sharded()]

    def group_mode(self, folder: Path) -> int:
        """Return the mode of a directory in the store of a group."""
        return sharing.FIXED if folder in self.fixed() else sharing.INSIDE

    def changing(self) -> list[Path]:
        """Return the directories in which names come and go, shards aside."""
        return [
            self.roots,
            self.leases,
            self.condemned_marks,
            self.trash,
            self.tmp,
            self.partials,
            self.locks,
            self.journals,
            self.bad,
            self.checked,
        ]

    def _sharded(self) -> list[Path]:
        return [self.blobs / SHA256, self.blobs / GIT_SHA1, self.metas, self.uses]

    def directories(self) -> list[Path]:
        """Return every directory a new store has, parents first."""
        shards = [f"{number:02x}" for number in range(256)]
        plain = [*self.fixed(), *self.changing()]
        return plain + [directory / shard for directory in self._sharded() for shard in shards]

    def blob(self, digest: Digest) -> Path:
        """Return where the content itself lies."""
        return Path(self.blobs, digest.algorithm, digest.hex[:2], digest.hex)

    def meta(self, digest: Digest) -> Path:
        """Return the side file that tells where the content came from."""
        return Path(self.meta_name(digest))

    def used(self, digest: Digest) -> Path:
        """Return the empty file whose mtime is the last use."""
        return Path(self.used_name(digest))

    def meta_name(self, digest: Digest) -> str:
        """Return `meta` as text, for those who look at thousands."""
        return f"{self._metas}/{digest.hex[:2]}/{digest.file_name}.json"

    def used_name(self, digest: Digest) -> str:
        """Return `used` as text."""
        return f"{self._uses}/{digest.hex[:2]}/{digest.file_name}"

    def condemned(self, digest: Digest) -> Path:
        """Return the mark a collector sets before it takes the content away."""
        return self.condemned_marks / digest.file_name
