"""Points in time as people and JSON see them: ISO 8601, UTC, whole seconds."""

from __future__ import annotations

import time


def utc_text(seconds: float) -> str:
    """Return a POSIX time in seconds as `2026-11-21T06:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def utc_now() -> str:
    """Return the time by this machine's clock."""
    return utc_text(time.time())


def utc_seconds(text: str) -> float:
    """Return such a text as a POSIX time in seconds; ValueError for any other text."""
    from datetime import datetime

    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"not a time in UTC: {text}")
    return time.timestamp()
