"""What was passed over, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left as it is, and why."""

    path: str
    reason: str
