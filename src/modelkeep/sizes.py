"""Sizes as people write them."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGTP]?)(i?)B?", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

_MB = 10**6

EXAMPLES = "500 GB, 1.5T or 20GiB"


def parse_size(text: str) -> int:
    """Read `500 GB`, `1.5T`, `20GiB` or `4096` as bytes; units are decimal unless they have an i.

    ValueError for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"`{text}` is no size such as {EXAMPLES}")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** _POWERS[match[2].lower()])


def as_option(size: int) -> str:
    """Return bytes as `parse_size` reads them, short and never more."""
    return f"{size // _MB}MB" if size >= _MB else str(size)
