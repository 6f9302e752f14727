"""`modelkeep doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from modelkeep import settings
from modelkeep.cli import human
from modelkeep.cli.options import Command, Invocation
from modelkeep.runtime.doctor import AREAS, CHECKS, Examined, Mended, Status, Subject, examine, mend

if TYPE_CHECKING:
    from modelkeep.runtime.doctor import Check

_SHOWN = 20


@click.command(
    "doctor",
    cls=Command,
    examples=(
        "modelkeep doctor",
        "modelkeep doctor keep --fix --dry-run",
        "modelkeep doctor --format json",
    ),
)
@click.argument("areas", metavar="[AREA]...", nargs=-1, type=click.Choice(AREAS))
@click.option("--fix", is_flag=True, help="Do what is safe: modes, leftovers, missing folders.")
@click.option("--dry-run", is_flag=True, help="With --fix: only say what would be done.")
@click.pass_obj
def command(invocation: Invocation, areas: tuple[str, ...], fix: bool, dry_run: bool) -> int:
    """Look for what is wrong with the keep, and say what to do.

    Works on a keep that does not open, and without one. The areas are the keep itself and the
    loaders that this shell would start. `--fix` never touches a model. The exit code is 1 while a
    check fails; a warning alone is no failure.
    """
    if dry_run and not fix:
        raise click.UsageError("--dry-run goes with --fix")
    checks = [check for check in CHECKS if not areas or check.area in areas]
    examined = _examine(invocation, checks)
    mended = mend(examined, dry_run=dry_run) if fix else ()
    if any(each.done for each in mended):
        examined = _examine(invocation, checks)
    failed = [each.check.id for each in examined if each.finding.status is Status.FAIL]
    document: dict[str, object] = {"checks": [_document(each) for each in examined]}
    if fix:
        document |= {"fixed": mended, "dry_run": dry_run}
    invocation.output.emit(
        document, human=[*_mended(mended, dry_run), *_lines(examined)], quiet=failed
    )
    return 1 if failed else 0


def _examine(invocation: Invocation, checks: Sequence[Check]) -> tuple[Examined, ...]:
    return examine(Subject(settings.keep_directory(invocation.keep)), checks)


def _document(each: Examined) -> dict[str, object]:
    check, finding = each.check, each.finding
    return {
        "id": check.id,
        "area": check.area,
        "status": finding.status,
        "evidence": finding.evidence,
        "fix": finding.fix,
        "fixable": bool(finding.remedies),
        "docs": check.docs,
    }


def _lines(examined: Sequence[Examined]) -> Iterator[str]:
    width = max(len(each.check.id) for each in examined)
    skipped = Counter(each.finding.evidence for each in examined if _is_skipped(each))
    for each in examined:
        finding = each.finding
        if _is_skipped(each):
            continue
        yield f"{finding.status:<5} {each.check.id:<{width}}  {finding.evidence}"
        if finding.fix and finding.status is not Status.OK:
            yield f"{'':<5} {'':<{width}}  fix: {finding.fix}"
    for reason, count in skipped.items():
        yield f"skip  {human.counted(count, 'check')}: {reason}"
    counts = Counter(each.finding.status for each in examined)
    yield ", ".join(
        [
            f"{human.counted(len(examined), 'check')}: {counts[Status.OK]} ok",
            human.counted(counts[Status.WARN], "warning"),
            f"{counts[Status.FAIL]} failed",
            f"{counts[Status.SKIP]} skipped",
        ]
    )


def _is_skipped(each: Examined) -> bool:
    return each.finding.status is Status.SKIP


def _mended(mended: Sequence[Mended], dry_run: bool) -> Iterator[str]:
    for each in mended[:_SHOWN]:
        if each.error is not None:
            yield f"failed {each.does}: {each.error}"
        else:
            yield f"{'would' if dry_run else 'done  '} {each.does}"
    if len(mended) > _SHOWN:
        yield f"and {len(mended) - _SHOWN:,} more"
    if mended:
        yield ""
