"""Numbers as people read them."""

from __future__ import annotations

import re
import time
from datetime import datetime

from modelkeep.fs.space import readable
from modelkeep.hub.repo import is_commit

_SPANS = (
    ("year", 31_557_600),
    ("month", 2_629_800),
    ("day", 86_400),
    ("hour", 3600),
    ("minute", 60),
)

_URL = re.compile(r"https?://(?:[^\s/@]*@)?([^\s/?#`'\")]+)[^\s`'\")]*")


def size(count: float) -> str:
    """Return bytes in decimal units, as the Hub shows them: `1.2 GB`."""
    return readable(round(count))


def counted(count: int, noun: str) -> str:
    """Return `1 file`, `3 files`, `1,200 files`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def duration(seconds: float) -> str:
    """Return a span of time: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(moment: str | None, *, now: float | None = None) -> str:
    """Return how long ago an ISO time in UTC was: `3 minutes ago`; `never` for None."""
    if moment is None:
        return "never"
    then = datetime.fromisoformat(moment).timestamp()
    seconds = (time.time() if now is None else now) - then
    for noun, span in _SPANS:
        if seconds >= span:
            return counted(int(seconds // span), noun) + " ago"
    return "just now"


def without_urls(text: str) -> str:
    """Return text in which the host stands for each URL; signed ones fill a screen."""
    return _URL.sub(r"\1", text)


def commit(commit_id: str) -> str:
    """Return the first digits of a commit, enough to tell it from others."""
    return commit_id[:8]


def revision(name: str) -> str:
    """Return `repo@commit` with as much of the commit as people read; other names as they are."""
    repo, _, commit_id = name.partition("@")
    return f"{repo}@{commit(commit_id)}" if is_commit(commit_id) else name
