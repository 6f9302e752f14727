"""Evidence in words: how many, and which."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_SHOWN = 3


def some(paths: Sequence[str | Path]) -> str:
    """Return the first few of many paths, and how many more there are."""
    shown = ", ".join(os.fspath(path) for path in paths[:_SHOWN])
    return f"{shown} and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else shown


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """Return `1 folder`, `1,034 folders`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
