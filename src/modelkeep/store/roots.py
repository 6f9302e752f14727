"""Roots: the caches that use blobs of this store, and which blob each uses where.

Every cache registers once and then appends one line for each blob it is about to use, before it
uses it. Lines are never rewritten by users, so writers need no lock. A reference is alive while
its path may still need the blob; what cannot be looked at counts as alive.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
from collections.abc import Collection, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.fs.identity import mount_namespace
from modelkeep.fs.oserrors import explained
from modelkeep.store.digest import Digest
from modelkeep.times import utc_now

OWN_HUB = "hub"


@dataclass(frozen=True, slots=True)
class Reference:
    """One use of a blob: the root that uses it and the path inside that root."""

    digest: Digest
    root: Root
    path: str

    @property
    def file(self) -> Path:
        """Where the blob is used."""
        return self.root.directory / self.path

    def is_alive(self, stored: Path) -> bool:
        """Tell whether the path is still there, or might be, and may need the blob.

        `stored` is where the blob lies now. A symbolic link counts whatever it leads to: while a
        collector holds the blob in its hands, links to it lead nowhere. A file in another cache
        that is not the blob's inode is a copy, which needs no blob.
        """
        try:
            status = self.file.lstat()
        except FileNotFoundError:
            return not self.root.is_reachable()
        except OSError:
            return True  # unknown means alive
        if self.root.home is None or not stat.S_ISREG(status.st_mode):
            return True
        try:
            shared = os.path.samestat(status, stored.lstat())
        except OSError:
            return True
        return shared or not self.root.is_reachable()


@dataclass(frozen=True, slots=True)
class Root:
    """A registered cache. `directory` is absolute.

    `home` is the machine and mount namespace in which that path means this cache; None for the
    keep's own hub, which lies beside its store wherever the keep is mounted.
    """

    id: str
    directory: Path
    home: tuple[str, str] | None
    _refs: Path
    _mode: int = 0o644

    def refer(self, uses: Iterable[tuple[Digest, str]]) -> None:
        """Record durably, in one write, that paths inside the root are about to use blobs.

        Any number of processes may do so at once. Call this before looking whether a blob is
        there: a collector looks at references after it has hidden the blob.
        """
        lines = [f"{digest} {path}" for digest, path in uses]
        if any("\n" in line for line in lines):
            raise ValueError("a path in a root cannot hold a newline")
        durable.append_line(self._refs, "\n".join(lines), mode=self._mode)

    def references(self, offset: int = 0) -> tuple[list[Reference], int]:
        """Return the references written since byte `offset`, and where the next call goes on.

        Torn or foreign lines are passed over. Raises ModelkeepError where they cannot be read.
        """
        try:
            with explained("reading references", self._refs), self._refs.open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        complete = data.rfind(b"\n") + 1
        found = []
        for line in data[:complete].decode(errors="replace").split("\n"):
            digest, _, path = line.partition(" ")
            try:
                found.append(Reference(Digest.parse(digest), self, path))
            except ValueError:
                continue  # torn by a crash or a full disk; its writer did not go on to use it
        return found, offset + complete

    def uses(self, wanted: Container[str]) -> Iterator[tuple[str, str]]:
        """Yield the references to digests that are `wanted`, as text: the digest and the path.

        For those who look at all of them at once. Raises ModelkeepError where they cannot be read.
        """
        try:
            with explained("reading references", self._refs):
                text = self._refs.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        for line in text[: text.rfind("\n") + 1].split("\n"):
            digest, _, path = line.partition(" ")
            if digest in wanted:
                yield digest, path

    def paths(self) -> frozenset[str]:
        """Return every path in the root that was ever to use a blob."""
        try:
            with explained("reading references", self._refs):
                text = self._refs.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return frozenset()
        return frozenset(line.partition(" ")[2] for line in text.split("\n"))

    def is_reachable(self) -> bool:
        """Tell whether what is at a path proves anything: elsewhere it means another cache."""
        return self.home is None or self.home == _here()


def _here() -> tuple[str, str]:
    return socket.gethostname(), mount_namespace()


class Roots:
    """All roots of one store."""

    def __init__(self, directory: Path, store_root: Path, *, shared: bool = False) -> None:
        self._directory = directory
        self._store_root = store_root
        self._mode = 0o664 if shared else 0o644

    def register(self, cache: Path) -> Root:
        """Register a cache of this machine; the same cache always gets the same root."""
        directory = cache.resolve()
        for root in self:
            if root.id == OWN_HUB and root.directory.resolve() == directory:
                return root
        host, namespace = _here()
        name = hashlib.sha256(f"{host}\0{namespace}\0{directory}".encode()).hexdigest()[:32]
        home = {"host": host, "mount_namespace": namespace, "uid": os.getuid()}
        return self._write(name, {"path": str(directory), **home})

    def own_hub(self) -> Root:
        """Return the root of the keep's own hub, registered where it is not yet.

        Its path is relative to the store, so that a keep may move.
        """
        return self._read(OWN_HUB) or self._write(OWN_HUB, {"path": "../hub"})

    def forget(self, root: Root) -> None:
        """Take a root away: nothing it refers to is used there any more."""
        folder = self._directory / root.id
        # The references first: without `root.json` they would count as those of an unknown place.
        for name in ("refs", "root.json"):
            durable.remove(folder / name)
        with suppress(OSError):
            folder.rmdir()

    def __iter__(self) -> Iterator[Root]:
        try:
            with explained("looking for roots", self._directory):
                names = sorted(path.name for path in self._directory.iterdir())
        except FileNotFoundError:
            return
        for name in names:
            if root := self._read(name):
                yield root

    def _read(self, name: str) -> Root | None:
        folder = self._directory / name
        try:
            fields = json.loads((folder / "root.json").read_bytes())
            directory = Path(os.path.normpath(self._store_root / str(fields["path"])))
            home = (
                (str(fields["host"]), str(fields["mount_namespace"])) if "host" in fields else None
            )
            return Root(name, directory, home, folder / "refs", self._mode)
        except (FileNotFoundError, NotADirectoryError):
            if not (folder / "refs").exists():
                return None  # somebody is registering it just now, or it is no root
        except (OSError, ValueError, KeyError, TypeError):
            pass
        # The root's place is unknown, so nothing it refers to can be proved dead.
        return Root(name, folder / "unreadable", ("unknown", "unknown"), folder / "refs")

    def _write(self, name: str, fields: dict[str, object]) -> Root:
        folder = self._directory / name
        if not (folder / "root.json").exists():
            durable.make_dirs(folder)
            text = json.dumps({**fields, "registered_at": utc_now()}, indent=1) + "\n"
            durable.write_bytes(folder / "root.json", text.encode())
        root = self._read(name)
        assert root is not None
        return root


class ReferenceIndex:
    """The references of all roots, by digest; `refresh` reads only what was appended since."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._offsets: dict[str, int] = {}
        self._by_digest: dict[Digest, list[Reference]] = {}
        self._unreadable: dict[str, Root] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take in what was appended since the last look."""
        for root in self._roots:
            try:
                found, self._offsets[root.id] = root.references(self._offsets.get(root.id, 0))
            except ModelkeepError:
                self._unreadable[root.id] = root
                continue
            for reference in found:
                self._by_digest.setdefault(reference.digest, []).append(reference)

    def alive(
        self, digest: Digest, stored: Path, *, besides: Collection[Path] = ()
    ) -> Reference | None:
        """Return one living reference to the blob that lies at `stored`, None where there is none.

        `besides` leaves out the uses that are about to go. A root whose references cannot be read
        may use any blob.
        """
        for root in self._unreadable.values():
            return Reference(digest, root, "unreadable")
        for reference in self._by_digest.get(digest, ()):
            if reference.file not in besides and reference.is_alive(stored):
                return reference
        return None
