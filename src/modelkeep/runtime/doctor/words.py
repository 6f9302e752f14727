"""Evidence in words: how many, and which."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelkeep.fs import accounts

_SHOWN = 3


def some(paths: Sequence[str | Path]) -> str:
    """Return the first few of many paths, and how many more there are."""
    shown = ", ".join(os.fspath(path) for path in paths[:_SHOWN])
    return f"{shown} and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else shown


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """Return `1 folder`, `1,034 folders`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def or_root(owners: Iterable[int]) -> str:
    """Say who can change what belongs to these users: `ada, or root`."""
    names = sorted({accounts.user(uid) for uid in owners if uid != 0})
    return f"{some(names)}, or root" if names else "root"
