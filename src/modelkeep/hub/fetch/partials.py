"""What has arrived of a file, kept so that any later run can go on from there.

A *partial* is a directory `<digest>.<random>/` with two files: `content`, as long as the whole file
from the start, and `ranges`, which says what of it is real:

    {"v": 1, "digest": "sha256:…", "size": n, "owner": {host, boot, pid_namespace, pid, start}}
    w <start> <stop>     these bytes were written; true as long as the owner's machine keeps running
    d <start> <stop>     these bytes are on the disk

It is named after the content, so it serves any repo and revision that holds it. One process at a
time owns it, and taking it over is one rename of the directory. The record saves work and carries
no safety: whatever it says, a file is hashed from its first byte before anybody sees it. A torn
last line is ignored, and a record that does not fit its content is worth nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from modelkeep.fs import durable, identity, sharing
from modelkeep.fs.clock import now_ns
from modelkeep.fs.identity import ProcessId
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import allocated_bytes
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.fetch.spans import Spans
from modelkeep.store.digest import Digest

_VERSION = 1
_COPY_BLOCK = 8 << 20
# The kernel takes memory in pieces as large as what is written, and a virtual machine may have to
# ask its host for large ones.
_WRITE_BLOCK = 256 << 10


@dataclass(frozen=True, slots=True)
class Record:
    """What a `ranges` file says, as far as it can be believed now."""

    owner: ProcessId
    written: Spans
    """Includes what is durable."""
    durable: Spans


def read_record(text: str, digest: Digest, size: int, boot: str) -> Record | None:
    """Read a `ranges` file on a machine whose boot id is `boot`; None where it cannot be used."""
    head, *lines = text.split("\n")[:-1] or [""]
    try:
        header = json.loads(head)
        owner = ProcessId(**header["owner"])
        if (header["v"], header["digest"], header["size"]) != (_VERSION, str(digest), size):
            return None
    except (ValueError, TypeError, KeyError):
        return None
    written, synced = Spans(), Spans()
    for line in lines:
        kind, _, rest = line.partition(" ")
        try:
            start, stop = map(int, rest.split())
        except ValueError:
            continue
        if not 0 <= start <= stop <= size:
            return None
        if kind == "d":
            synced.add(start, stop)
        if kind == "d" or (kind == "w" and boot and owner.boot == boot):
            written.add(start, stop)
    return Record(owner, written, synced)


class Partial:
    """A partial that this process owns. `write` and `note` are thread-safe, and so is `sync`."""

    def __init__(self, directory: Path, size: int, record: Record | None) -> None:
        self.directory = directory
        self.content = directory / "content"
        self.done = record.written if record else Spans()
        """What was there when it was opened."""
        self._durable = record.durable if record else Spans()
        self._closing = threading.Lock()
        self._fd = self._record_fd = -1
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with explained("opening a partial download", self.content):
            self._fd = os.open(self.content, flags, 0o600)
            try:
                os.ftruncate(self._fd, size)
                self._record_fd = os.open(directory / "ranges", flags | os.O_APPEND, 0o600)
            except BaseException:
                self.close()
                raise

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes at their place."""
        with explained("writing a download", self.content):
            written = 0
            while written < len(data):
                block = data[written : written + _WRITE_BLOCK]
                written += os.pwrite(self._fd, block, offset + written)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Read back what was written; return how many bytes came."""
        with explained("reading a download back", self.content):
            return os.preadv(self._fd, [buffer], offset)

    def note(self, start: int, stop: int) -> None:
        """Record bytes that `write` has taken."""
        if start < stop:
            self._append(f"w {start} {stop}\n")
            reach("fetch:noted")

    def sync(self, done: Spans) -> None:
        """Put `done`, all of which was written before the call, on the disk and record that."""
        with self._closing:
            fresh = done.minus(self._durable)
            if self._fd < 0 or not fresh:
                return
            with explained("syncing a download", self.content):
                durable.sync_file(self._fd)
                os.utime(self.directory)  # a sweep sees that somebody is at work here
            reach("fetch:synced")
            self._append("".join(f"d {start} {stop}\n" for start, stop in fresh))
            self._durable = done
            reach("fetch:recorded")

    def unsynced(self, done: Spans) -> int:
        """Return how many of these bytes are not known to be on the disk."""
        return done.total - self._durable.total

    def close(self) -> None:
        """Let go of the files and leave them for next time."""
        with self._closing:
            for fd in (self._fd, self._record_fd):
                if fd >= 0:
                    os.close(fd)
            self._fd = self._record_fd = -1

    def discard(self) -> None:
        """Remove the partial, and what is left of it after a delivery."""
        self.close()
        _remove_tree(self.directory)

    def _append(self, lines: str) -> None:
        if self._record_fd >= 0:
            with explained("recording a download", self.directory / "ranges"):
                os.write(self._record_fd, lines.encode())


def open_partial(directory: Path, digest: Digest, size: int, *, locked: bool) -> Partial:
    """Go on with what an earlier run left of this content, or start anew.

    `locked`: the caller holds the lock of this digest, and the lock is real on this machine. Then
    leftovers of this machine have no owner any more. Without it, only those are touched whose owner
    has provably ended. Leftovers of another boot may belong to another machine that does not see
    the lock: their durable bytes are copied, never taken.
    """
    found = _leftovers(directory, digest, size)
    me = identity.current()
    best: tuple[Path, Record] | None = None
    foreign: tuple[Path, Record] | None = None
    for path, record in found:
        ours = record is not None and locked and me.boot and record.owner.boot == me.boot
        if record is None:
            if locked and _looks_abandoned(path):
                _remove_tree(path)
        elif ours or identity.is_running(record.owner) is False:
            best, loser = _better(best, (path, record))
            if loser is not None:
                _remove_tree(loser[0])
        elif locked and record.owner.boot != me.boot:
            foreign, _ = _better(foreign, (path, record))
    if best is not None and (taken := _take_over(best, directory, digest, size, me)) is not None:
        return taken
    fresh = _start(directory, digest, size, me)
    if foreign is not None and foreign[1].durable.total:
        return _copy_durable(foreign, fresh)
    return fresh


def kept_bytes(directory: Path, digests: Collection[Digest]) -> int:
    """Return how much of the disk unfinished downloads of these contents take already."""
    names = {digest.file_name for digest in digests}
    kept = 0
    for path in directory.iterdir():
        if path.name.partition(".")[0] in names:
            with suppress(OSError):  # finished or taken over meanwhile
                kept += allocated_bytes((path / "content").stat())
    return kept


def _leftovers(directory: Path, digest: Digest, size: int) -> list[tuple[Path, Record | None]]:
    boot = identity.current().boot
    with explained("looking for partial downloads", directory), os.scandir(directory) as entries:
        paths = [Path(e.path) for e in entries if e.name.startswith(f"{digest.file_name}.")]
    return [(path, _believable(path, digest, size, boot)) for path in sorted(paths)]


def _believable(path: Path, digest: Digest, size: int, boot: str) -> Record | None:
    try:
        text = (path / "ranges").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    record = read_record(text, digest, size, boot)
    try:
        status = (path / "content").lstat()
        fits = status.st_size == size and status.st_nlink == 1
    except OSError:
        fits = False  # killed before it was created, or after it was handed over
    return record if fits or record is None else Record(record.owner, Spans(), Spans())


def _looks_abandoned(path: Path) -> bool:
    # Between its two steps of creation a live partial has no readable record for an instant; under
    # a lock that excludes on this machine, only another machine could be in that instant.
    try:
        status, now = path.stat(), now_ns(path.parent)
    except OSError:
        return False
    return now - status.st_mtime_ns > 3600 * 10**9


def _better(
    one: tuple[Path, Record] | None, other: tuple[Path, Record]
) -> tuple[tuple[Path, Record], tuple[Path, Record] | None]:
    if one is None or one[1].written.total < other[1].written.total:
        return other, one
    return one, other


def _take_over(
    found: tuple[Path, Record], directory: Path, digest: Digest, size: int, me: ProcessId
) -> Partial | None:
    path, record = found
    mine = _fresh_path(directory, digest)
    try:
        path.rename(mine)
    except OSError:
        return None  # somebody was quicker
    reach("fetch:taken")
    text = _record_text(digest, size, me, record.written, record.durable)
    durable.write_bytes(mine / "ranges", text, mode=0o600)
    return Partial(mine, size, record)


def _start(directory: Path, digest: Digest, size: int, me: ProcessId) -> Partial:
    path = _fresh_path(directory, digest)
    with explained("starting a download", path):
        path.mkdir(mode=0o700)
        sharing.inherit(path)  # what is left here others may have to remove
        # Not synced: after a power cut there is nothing worth recording until the first sync.
        (path / "ranges").write_bytes(_record_text(digest, size, me, Spans(), Spans()))
    reach("fetch:started")
    return Partial(path, size, None)


def _copy_durable(found: tuple[Path, Record], fresh: Partial) -> Partial:
    path, record = found
    try:
        source = os.open(path / "content", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return fresh
    try:
        for start, stop in record.durable:
            position = start
            while position < stop:
                data = os.pread(source, min(_COPY_BLOCK, stop - position), position)
                if not data:
                    return fresh
                fresh.write(position, data)
                fresh.note(position, position + len(data))
                fresh.done.add(position, position + len(data))
                position += len(data)
    except OSError:
        return fresh  # what was copied so far is real
    finally:
        os.close(source)
    return fresh


def _fresh_path(directory: Path, digest: Digest) -> Path:
    return directory / durable.unique_name(f"{digest.file_name}.")


def _record_text(
    digest: Digest, size: int, owner: ProcessId, written: Iterable[tuple[int, int]], synced: Spans
) -> bytes:
    header = {"v": _VERSION, "digest": str(digest), "size": size, "owner": asdict(owner)}
    lines = [json.dumps(header)]
    lines += [f"w {start} {stop}" for start, stop in written]
    lines += [f"d {start} {stop}" for start, stop in synced]
    return "".join(f"{line}\n" for line in lines).encode()


def _remove_tree(path: Path) -> None:
    # Leftovers that cannot be removed now are swept later.
    shutil.rmtree(path, ignore_errors=True)
