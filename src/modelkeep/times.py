"""Points in time as people and JSON see them: ISO 8601, UTC, whole seconds."""

from __future__ import annotations

import re
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


_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[mhdwy])", re.ASCII)
_UNITS = {"m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365.25 * 86_400}


def parse_span(text: str) -> float:
    """Read `90m`, `90min`, `12h`, `30d`, `8w` or `1y` as seconds; ValueError for anything else."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"`{text}` is no time such as 30m or 2h")
    return float(match[1]) * _UNITS[match[2]]


def parse_age(text: str) -> float:
    """Read such a span, but for `m`: of an age that could be months. ValueError then, too."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"`{text}` is no age such as 12h, 30d or 8w")
    if match[2] == "m":
        raise ValueError(f"`{text}` could be minutes or months: write 60min or 30d")
    return parse_span(text)
