"""The store: what one keep holds, and the one way content gets its name."""

from __future__ import annotations

import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from modelkeep.errors import (
    AccessError,
    CorruptError,
    ModelkeepError,
    SettingsError,
    UnknownFormatError,
)
from modelkeep.fs import durable, probe, sharing
from modelkeep.fs.oserrors import explained
from modelkeep.fs.probe import Capabilities
from modelkeep.fs.sameness import Identity, identity
from modelkeep.fs.syncpoint import reach
from modelkeep.store import ballast, uses
from modelkeep.store import meta as metas
from modelkeep.store.checked import Checked
from modelkeep.store.digest import GIT_SHA1, SHA256, Digest, require_digest
from modelkeep.store.heal import heal, mark
from modelkeep.store.layout import FORMAT, StoreLayout
from modelkeep.store.leases import Leases
from modelkeep.store.meta import Meta, Source
from modelkeep.store.roots import Roots
from modelkeep.times import utc_now

Mode = Literal["private", "group"]


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob as it lies there: size in bytes, its links, and whether it is as it was last hashed.

    `intact` is False when the blob was found bad or has changed since, None when its side file is
    missing, so that only hashing could tell.
    """

    digest: Digest
    path: Path
    size: int
    links: int
    intact: bool | None
    checked_at: str | None
    sources: tuple[Source, ...]


class Store:
    """A content-addressed store in one directory.

    Any number of processes, users and nodes may use it at once. No lock is needed for safety:
    content gets its name by a link that never overwrites, after it was hashed, sealed and synced.
    """

    def __init__(self, layout: StoreLayout, header: dict[str, object]) -> None:
        self.layout = layout
        self.id = str(header["id"])
        self.mode: Mode = "group" if header.get("mode") == "group" else "private"
        self.capabilities = Capabilities.from_dict(header.get("capabilities"))
        self.roots = Roots(layout.roots, layout.root, shared=self.mode == "group")
        self.leases = Leases(layout)
        self._proven: set[tuple[Digest, Identity]] = set()

    @classmethod
    def create(cls, directory: Path, mode: Mode = "private") -> Store:
        """Make a store in a new or empty directory; an existing store is opened as it is.

        The header is written last, so a directory with a header has everything a store has.
        """
        layout = StoreLayout(directory)
        if layout.header.exists():
            return cls.open(directory)
        with explained("creating the store", directory):
            for folder in (directory, *layout.directories()):
                folder.mkdir(parents=True, exist_ok=True)
                if mode == "group":
                    sharing.share(folder, layout.group_mode(folder))
        header = {
            "format": FORMAT,
            "id": str(uuid.uuid4()),
            "mode": mode,
            "created_at": utc_now(),
            "capabilities": probe.probe(layout.tmp).to_dict(),
        }
        temporary = layout.tmp / durable.unique_name()
        durable.write_bytes(temporary, json.dumps(header, indent=1).encode() + b"\n")
        durable.publish(temporary, layout.header)  # of two creators at once the first one counts
        ballast.make(layout)
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Open a store. FileNotFoundError where there is none."""
        layout = StoreLayout(directory)
        with explained("opening the store", layout.header):
            text = layout.header.read_bytes()
        try:
            header = json.loads(text)
            known = header["format"]
            if known == FORMAT:
                return cls(layout, header)
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"`{layout.header}` is damaged: {error}",
                hint="restore the file from a backup; the models beside it are untouched",
                path=layout.header,
            ) from error
        raise UnknownFormatError(
            f"`{directory}` has store format {known}; this modelkeep knows format {FORMAT}",
            hint="use the modelkeep version that made it; nothing was changed",
            path=layout.header,
        )

    def has(self, digest: Digest) -> bool:
        """Tell whether the content is here, by its name alone; a link in its place is none."""
        try:
            _status(self.layout.blob(digest))
        except FileNotFoundError:
            return False
        return True

    def has_sound(self, digest: Digest) -> bool:
        """Tell whether the content is here and not known to be damaged. Reads none of it."""
        info = self.info(digest)
        return info is not None and info.intact is not False

    def is_proven(self, digest: Digest) -> bool:
        """Tell whether the content is here and right, after reading it once in this process.

        For whoever gives up another copy in its favour: a disk that fails leaves size and time as
        they were. Bytes that are bad are marked so, and publishing the content again heals them.
        """
        try:
            proof = (digest, identity(_status(self.layout.blob(digest))))
            self.describe(digest, None)
            if proof not in self._proven:
                self._require_sound(digest, metas.read(self.layout.meta(digest)))
        except (CorruptError, FileNotFoundError):
            return False
        self._proven.add(proof)
        return True

    def path(self, digest: Digest) -> Path:
        """Return where the content lies, whether or not it is there."""
        return self.layout.blob(digest)

    def blobs(self) -> Iterator[tuple[Digest, os.stat_result]]:
        """Yield the name and status of every blob, in no order; foreign names are passed over."""
        for entry in self.entries():
            digest = Digest.from_etag(entry.name)
            if digest is None or self.layout.blob(digest) != Path(entry.path):
                continue
            try:
                yield digest, entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # a collector was quicker

    def entries(self) -> Iterator[os.DirEntry[str]]:
        """Yield what stands where blobs do; the names are etags, unless somebody put others."""
        for algorithm in (SHA256, GIT_SHA1):
            for _, entry in sharded(self.layout.blobs / algorithm):
                yield entry

    def info(self, digest: Digest) -> BlobInfo | None:
        """Describe a blob without reading its bytes; None where it is missing."""
        path = self.layout.blob(digest)
        try:
            status = _status(path)
        except FileNotFoundError:
            return None
        meta = metas.read(self.layout.meta(digest))
        return BlobInfo(
            digest=digest,
            path=path,
            size=status.st_size,
            links=status.st_nlink,
            intact=None if meta is None else meta.bad_since is None and meta.describes(status),
            checked_at=meta.verified_at if meta else None,
            sources=meta.sources if meta else (),
        )

    def publish(
        self,
        part: Path,
        digest: Digest,
        *,
        source: Source | None = None,
        xet_hash: str | None = None,
        verified: bool = False,
    ) -> bool:
        """Give a private, complete file its name in the store, and take it away from `part`.

        `part` is a regular file on the store's file system that nobody else writes. It is hashed
        unless the caller has just done so (`verified`). Returns False where the content was here
        already and is right, for it is read; a damaged blob counts as not here, and is healed.
        Raises CorruptError, and leaves `part`, where the bytes are not what the name says;
        FileNotFoundError where the content was here and a collector has just taken it away.
        A crash at any step leaves `part`, or the finished blob, or both.
        """
        if not verified:
            require_digest(part, digest)
        reach("publish:verified")
        durable.seal(part)
        reach("publish:sealed")
        if not self.has(digest):
            if self.layout.blob(digest).is_symlink():
                durable.remove(self.layout.blob(digest))
            meta = Meta.of(part.stat(), now=utc_now(), source=source)
            if xet_hash:
                meta = replace(meta, xet_hash=xet_hash)
            metas.write(self.layout.meta(digest), meta)
            reach("publish:described")
        elif not self.is_proven(digest):
            heal(self.layout, digest, part)
            self.describe(digest, source)
            return True
        if durable.publish(part, self.layout.blob(digest)):
            return True
        # Another process named the same content first: its inode is the one to describe.
        self.describe(digest, source)
        return False

    def describe(self, digest: Digest, source: Source | None) -> None:
        """Add a source to a blob's side file, and see that the file speaks of this inode.

        Raises CorruptError where the bytes have changed since they were hashed, FileNotFoundError
        where the blob is gone. Whoever may only read can still call this without a source.
        """
        path, side = self.layout.blob(digest), self.layout.meta(digest)
        status = _status(path)
        old = metas.read(side)
        meta = old
        if meta is None or not meta.describes(status) or meta.bad_since:
            self._require_sound(digest, meta)
            now = utc_now()
            meta = meta.hashed(status, now=now) if meta else Meta.of(status, now=now)
        meta = meta.with_sources([source] if source else [])
        if meta != old:
            try:
                metas.write(side, meta)
            except AccessError:
                if source is not None:
                    raise

    def checked(self) -> Checked:
        """Read the log of when blobs were found good, besides what their side files say."""
        return Checked(self.layout.checked / "store", mode=0o664 if self.mode == "group" else 0o644)

    def mark_used(self, digest: Digest) -> None:
        """Stamp the last use; best effort, since readers may have no right to write."""
        uses.stamp(self.layout.used(digest))

    def last_used(self, digest: Digest) -> float | None:
        """Return the POSIX time of the last recorded use, None where none was recorded."""
        try:
            return os.stat(self.layout.used_name(digest)).st_mtime  # noqa: PTH116 - asked thousands of times
        except OSError:
            return None

    def _require_sound(self, digest: Digest, meta: Meta | None) -> None:
        """Hash a blob; mark one that is bad, as far as this caller may, and raise CorruptError."""
        repos = sorted({source.repo for source in meta.sources if source.upstream} if meta else ())
        hint = f"fetch it anew: modelkeep pull {repos[0] if repos else 'REPO'}"
        try:
            require_digest(
                self.layout.blob(digest), digest, hint=f"{hint}; for what was added: modelkeep add"
            )
        except CorruptError:
            with suppress(ModelkeepError, FileNotFoundError):
                mark(self.layout, digest)
            raise


def _status(blob: Path) -> os.stat_result:
    """Look at a blob; FileNotFoundError for anything else in its place.

    A link there would lend its name to a file outside of the store that others may not read.
    """
    with explained("looking at a blob", blob):
        status = blob.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(blob)
    return status


def sharded(directory: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what lies in the shards of a folder, with the name of the shard. Follows no link."""
    with explained("listing the store", directory):
        if directory.is_symlink():
            return
        with os.scandir(directory) as entries:
            shards = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        for shard in shards:
            with os.scandir(shard.path) as entries:
                yield from ((shard.name, entry) for entry in entries)
