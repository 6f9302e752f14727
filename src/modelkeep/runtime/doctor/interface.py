"""What a check is: something looked at, and what was found.

A check belongs to an area and has an id of the form `<area>.<name>`, which never changes its
meaning; `docs/reference/checks.md` explains each. Checks only look. What can be mended without any
risk for a model comes with the finding as remedies, which the caller applies or not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from modelkeep.runtime.doctor.subject import Subject

_DOCS = "docs/reference/checks.md"


class Status(StrEnum):
    """What came of a check. `WARN`: it works, and may cost something; `FAIL`: something breaks."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A safe change, in words for a person, and what makes it. `apply` may raise ModelkeepError."""

    does: str
    apply: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `evidence` are facts with their numbers; `fix` is what to do or type."""

    status: Status
    evidence: str
    fix: str | None = None
    remedies: tuple[Remedy, ...] = ()


class Check(ABC):
    """One question. `severity` is the status that its bad answer has, if not said otherwise."""

    id: ClassVar[str]
    severity: ClassVar[Status] = Status.FAIL

    @abstractmethod
    def look(self, subject: Subject) -> Finding:
        """Answer the question; raise what gets in the way, which becomes the finding."""

    @property
    def area(self) -> str:
        """What it is about: the first part of its id."""
        return self.id.partition(".")[0]

    @property
    def docs(self) -> str:
        """Where it is explained."""
        return f"{_DOCS}#{self.id.replace('.', '')}"

    def ok(self, evidence: str) -> Finding:
        """Return that all is well."""
        return Finding(Status.OK, evidence)

    def skip(self, evidence: str) -> Finding:
        """Return that the question does not arise here."""
        return Finding(Status.SKIP, evidence)

    def bad(self, evidence: str, fix: str | None, *remedies: Remedy) -> Finding:
        """Return that something is wrong."""
        return Finding(self.severity, evidence, fix, remedies)
