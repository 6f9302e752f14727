"""What was found good, and when: a log of one cache, or of a store's blobs.

It only saves work: a scrub goes on with what is longest unchecked, and a quick verification passes
over what has not changed. One line for each file, `<time> <inode> <size> <mtime_ns> <path>`,
appended as files are hashed and not synced; the last line of a path counts, and a torn one is
passed over.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.fs.sameness import Identity
from modelkeep.fs.syncpoint import reach
from modelkeep.times import utc_seconds

_WORN = 4  # lines for each living path before the log is written anew


class Checked:
    """The log of one cache. `good` may be called from several threads."""

    def __init__(self, path: Path, *, mode: int = 0o644) -> None:
        self._path = path
        self._mode = mode
        self._known, lines = _read(path)
        self._is_worn = lines > 1000 and lines > _WORN * len(self._known)

    def when(self, path: Path) -> str | None:
        """Return when a file was last found good, None for never."""
        known = self._known.get(os.fspath(path))
        return known[0] if known else None

    def is_as_it_was(self, path: Path, identity: Identity) -> bool:
        """Tell whether a file was found good and has not changed since."""
        known = self._known.get(os.fspath(path))
        return known is not None and known[1] == identity

    def latest(self, path: Path, identity: Identity, noted: str | None) -> str | None:
        """Return the later of a time noted elsewhere and of when this very file was found good."""
        known = self._known.get(os.fspath(path))
        if known is None or known[1] != identity:
            return noted
        try:
            utc_seconds(known[0])
        except ValueError:  # a line that was torn where the next one began
            return noted
        return max(noted or "", known[0])

    def good(self, path: Path, identity: Identity, now: str) -> None:
        """Note that a file was found good just now, as far as this caller may write."""
        if "\n" in os.fspath(path):
            return
        line = _line(os.fspath(path), now, identity)
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, self._mode)
            try:
                if os.fstat(descriptor).st_size == 0:
                    durable.set_mode(descriptor, self._mode)
                os.write(descriptor, line)
                reach("checked:noted")
            finally:
                os.close(descriptor)

    def prepare(self) -> None:
        """Make the log's folder, and write a worn log anew; no error where that cannot be done."""
        with suppress(ModelkeepError, OSError):
            durable.make_dirs(self._path.parent)
            if self._is_worn:
                living = (
                    _line(path, *known) for path, known in self._known.items() if _is_there(path)
                )
                durable.write_bytes(self._path, b"".join(living), mode=self._mode)


def _is_there(path: str) -> bool:
    return os.path.lexists(path)


def _line(path: str, now: str, identity: Identity) -> bytes:
    numbers = " ".join(map(str, identity))
    return f"{now} {numbers} ".encode() + os.fsencode(path) + b"\n"


def _read(path: Path) -> tuple[dict[str, tuple[str, Identity]], int]:
    known: dict[str, tuple[str, Identity]] = {}
    lines = 0
    with suppress(OSError), path.open("rb") as file:
        for line in file:
            lines += 1
            with suppress(ValueError):
                now, inode, size, mtime_ns, name = line.rstrip(b"\n").split(b" ", 4)
                if line.endswith(b"\n"):
                    found = (int(inode), int(size), int(mtime_ns))
                    known[os.fsdecode(name)] = (now.decode("ascii"), found)
    return known, lines
