"""Makes the checks, and applies remedies. No check that fails stops another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelkeep.errors import ModelkeepError
from modelkeep.runtime.doctor import (
    contents,
    disk,
    loaders,
    permissions,
    remains,
    settings,
    sharing,
)
from modelkeep.runtime.doctor.interface import Check, Finding, Remedy, Status
from modelkeep.runtime.doctor.subject import Subject, Unavailable

CHECKS: tuple[Check, ...] = (
    settings.Present(),
    settings.Header(),
    settings.Settings(),
    settings.Agreement(),
    settings.Group(),
    settings.Budget(),
    permissions.Writable(),
    permissions.Owner(),
    permissions.Modes(),
    permissions.Sealed(),
    sharing.DefaultAcl(),
    sharing.Umask(),
    sharing.ProtectedHardlinks(),
    sharing.ClosedRepos(),
    sharing.Trees(),
    disk.FileSystem(),
    disk.OneFileSystem(),
    disk.Recorded(),
    disk.LinkCounts(),
    disk.FreeSpace(),
    disk.Inodes(),
    disk.Clock(),
    disk.Place(),
    remains.Folders(),
    remains.Temporary(),
    remains.Partials(),
    remains.Marks(),
    remains.Trash(),
    remains.Locks(),
    contents.Leases(),
    contents.Roots(),
    contents.Strangers(),
    contents.Unsettled(),
    loaders.Cache(),
    loaders.Home(),
    loaders.Token(),
    loaders.TransformersCache(),
    loaders.Empty(),
)

AREAS: tuple[str, ...] = tuple(dict.fromkeys(check.area for check in CHECKS))


@dataclass(frozen=True, slots=True)
class Examined:
    """A check and what it found."""

    check: Check
    finding: Finding


@dataclass(frozen=True, slots=True)
class Mended:
    """A remedy: the check it belongs to, what it does, whether it was done, and if not, why."""

    id: str
    does: str
    done: bool
    error: str | None


def examine(subject: Subject, checks: Iterable[Check] = CHECKS) -> tuple[Examined, ...]:
    """Make checks in their order; one that cannot be made is a finding of its own."""
    return tuple(Examined(check, _look(check, subject)) for check in checks)


def mend(examined: Iterable[Examined], *, dry_run: bool = False) -> tuple[Mended, ...]:
    """Apply all remedies, as far as each can be; with `dry_run` only tell them."""
    return tuple(
        _apply(each.check.id, remedy, dry_run)
        for each in examined
        for remedy in each.finding.remedies
    )


def _look(check: Check, subject: Subject) -> Finding:
    try:
        return check.look(subject)
    except Unavailable as cause:
        return Finding(Status.SKIP, str(cause))
    except ModelkeepError as error:
        return Finding(Status.FAIL, f"could not be checked: {error.message}", error.hint)
    except Exception as error:  # the doctor is asked when things are broken in unforeseen ways
        return Finding(Status.FAIL, f"could not be checked: {type(error).__name__}: {error}")


def _apply(id: str, remedy: Remedy, dry_run: bool) -> Mended:  # noqa: A002 - what it is
    if dry_run:
        return Mended(id, remedy.does, done=False, error=None)
    try:
        remedy.apply()
    except (ModelkeepError, OSError) as error:
        return Mended(id, remedy.does, done=False, error=str(error))
    return Mended(id, remedy.does, done=True, error=None)
