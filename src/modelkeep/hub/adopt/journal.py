"""What an adopted cache was like before, written down durably before anything in it changes.

A journal is one file of JSON lines, `store/journals/<id>/journal`: a header, then an entry for each
file, link or folder that may change, and events. It is only appended to. What has really changed is
not written down: whoever goes back compares each entry with what is there now, so that a journal is
right after a crash at any moment.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable
from modelkeep.fs.oserrors import explained
from modelkeep.fs.sameness import identity
from modelkeep.fs.syncpoint import reach
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store
from modelkeep.times import utc_now

FORMAT = 1
_NAME = "journal"

FILE, FOLDER, LINK, NEW = "file", "folder", "link", "new"
FINISHED, UNDONE, SET_ASIDE = "finished", "undone", "set_aside"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a cache, relative to it, as it was; NEW is one that was not there.

    A LINK led to nothing, by the text `target`.
    `digest` names the content of a file that the store is to have, `shared` tells that it had the
    store's inode already.
    """

    path: str
    kind: str
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0
    device: int = 0
    inode: int = 0
    links: int = 0
    uid: int = 0
    gid: int = 0
    digest: str | None = None
    shared: bool = False
    target: str = ""

    @classmethod
    def of(
        cls,
        path: str,
        status: os.stat_result,
        digest: Digest | None = None,
        *,
        shared: bool = False,
    ) -> Entry:
        """Describe a file, or a folder, by its status."""
        return cls(
            path=path,
            kind=FOLDER if stat.S_ISDIR(status.st_mode) else FILE,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            mode=stat.S_IMODE(status.st_mode),
            device=status.st_dev,
            inode=status.st_ino,
            links=status.st_nlink,
            uid=status.st_uid,
            gid=status.st_gid,
            digest=str(digest) if digest else None,
            shared=shared,
        )

    def is_same_file(self, status: os.stat_result) -> bool:
        """Tell whether this is still the inode that was noted, with the bytes it had."""
        return (self.inode, self.size, self.mtime_ns) == identity(status)

    def looks_like(self, status: os.stat_result) -> bool:
        """Tell whether this is a file that was given back: another inode that is as it was."""
        return (self.size, self.mtime_ns, self.mode) == (
            status.st_size,
            status.st_mtime_ns,
            stat.S_IMODE(status.st_mode),
        )


@dataclass(slots=True)
class Journal:
    """The journal of one cache. `cache` is its real path, `inode` that of its folder."""

    folder: Path
    cache: Path
    merge: bool
    inode: int
    uid: int
    started_at: str
    set_aside: Path | None = None
    finished: bool = False
    undone: bool = False
    entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def begin(cls, store: Store, cache: Path, *, merge: bool) -> Journal:
        """Start a journal, durably."""
        now = datetime.now(UTC)
        name = now.strftime("%Y%m%dT%H%M%S.%fZ") + durable.unique_name("-")[:9]
        folder = store.layout.journals / name
        durable.make_dirs(folder)
        journal = cls(folder, cache, merge, cache.stat().st_ino, os.geteuid(), utc_now())
        header = {
            "format": FORMAT,
            "cache": str(cache),
            "merge": merge,
            "inode": journal.inode,
            "uid": journal.uid,
            "started_at": journal.started_at,
        }
        journal._append([header])
        reach("adopt:begun")
        return journal

    @classmethod
    def read(cls, folder: Path) -> Journal | None:
        """Read a journal; None where it is of another version, or its start was cut off."""
        try:
            with explained("reading a journal", folder):
                lines = (folder / _NAME).read_text(encoding="utf-8").split("\n")
            header = json.loads(lines[0])
            if header["format"] != FORMAT:
                return None
            journal = cls(
                folder,
                Path(header["cache"]),
                bool(header["merge"]),
                int(header["inode"]),
                int(header["uid"]),
                str(header["started_at"]),
            )
        except (ModelkeepError, FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        for line in lines[1:]:
            journal._take_in(line)
        return journal

    def add(self, entries: Iterable[Entry]) -> None:
        """Note, durably, what is about to change; what is noted already stays as it is."""
        new = [entry for entry in entries if entry.path not in self.entries]
        if new:
            self._append([asdict(entry) for entry in new])
            self.entries.update((entry.path, entry) for entry in new)
            reach("adopt:noted")

    def note(self, event: str, path: Path | None = None) -> None:
        """Note, durably, what is about to be done, or has been done, to the whole."""
        self._append([{"event": event, "at": utc_now(), "path": str(path) if path else None}])
        self._happened(event, path)
        reach(f"adopt:{event}")

    def _append(self, lines: list[dict[str, object]]) -> None:
        durable.append_line(self.folder / _NAME, "\n".join(map(json.dumps, lines)))

    def _take_in(self, line: str) -> None:
        try:
            fields = json.loads(line)
            if "event" in fields:
                self._happened(fields["event"], Path(fields["path"]) if fields["path"] else None)
            elif "kind" in fields:
                entry = Entry(**fields)
                self.entries.setdefault(entry.path, entry)
        except (ValueError, KeyError, TypeError):
            return  # torn by a crash: what it would have said was not done

    def _happened(self, event: str, path: Path | None) -> None:
        self.finished |= event == FINISHED
        self.undone |= event == UNDONE
        if event == SET_ASIDE:
            self.set_aside = path


def journals(store: Store) -> Iterator[Journal]:
    """Yield the journals of a store that can be read, the oldest first."""
    try:
        with explained("looking for journals", store.layout.journals):
            folders = sorted(store.layout.journals.iterdir())
    except FileNotFoundError:
        return
    for folder in folders:
        journal = Journal.read(folder)
        if journal is not None:
            yield journal


def unfinished(store: Store, cache: Path, *, merge: bool) -> Journal | None:
    """Return the journal of an adoption of this cache that was cut short."""
    for journal in reversed(list(journals(store))):
        if journal.cache == cache and not journal.undone:
            return None if journal.finished or journal.merge != merge else journal
    return None
