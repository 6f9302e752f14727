"""Looks for what is wrong: checks in areas, each with its evidence and what to do.

A new area is a module of checks and a line for each in `examination.CHECKS`.
"""

from __future__ import annotations

from modelkeep.runtime.doctor.examination import AREAS, CHECKS, Examined, Mended, examine, mend
from modelkeep.runtime.doctor.interface import Check, Finding, Remedy, Status
from modelkeep.runtime.doctor.subject import Subject, Unavailable

__all__ = [
    "AREAS",
    "CHECKS",
    "Check",
    "Examined",
    "Finding",
    "Mended",
    "Remedy",
    "Status",
    "Subject",
    "Unavailable",
    "examine",
    "mend",
]
