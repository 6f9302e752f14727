"""`modelkeep gc`."""

from __future__ import annotations

from dataclasses import replace

import click

from modelkeep.cli import human
from modelkeep.cli.document import fields
from modelkeep.cli.options import AGE, SIZE, Command, Invocation
from modelkeep.cli.removed import ask, conclusion, foreseen, kept_lines, planned
from modelkeep.cli.table import Table
from modelkeep.hub.removal.collect import CollectionPlan, preview
from modelkeep.hub.removal.remove import Removal


@click.command(
    "gc",
    cls=Command,
    examples=(
        "modelkeep gc --dry-run",
        "modelkeep gc --keep-under 500GB",
        "modelkeep gc --match 'bert-*' --older-than 90d",
        "modelkeep gc --free 50GB --yes",
    ),
)
@click.option("--keep-under", type=SIZE, metavar="SIZE", help="Let the keep take no more.")
@click.option("--free", type=SIZE, metavar="SIZE", help="Give back at least so much.")
@click.option(
    "--older-than",
    type=AGE,
    metavar="AGE",
    help="Only revisions not used for so long, such as 30d.",
)
@click.option(
    "--match", multiple=True, metavar="PATTERN", help="Only repos that match; repeatable."
)
@click.option("--all", "everything", is_flag=True, help="Everything that can be fetched again.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.pass_obj
def command(
    invocation: Invocation,
    keep_under: int | None,
    free: int | None,
    older_than: float | None,
    match: tuple[str, ...],
    everything: bool,
    dry_run: bool,
) -> None:
    """Give space back: garbage, and what was not used for longest.

    Alone it takes only what nobody uses: content that no cache refers to, and what processes that
    died have left. With options whole revisions go too, least recently used first. What is pinned,
    in use, or could not be fetched again always stays. Shows the plan and asks.
    """
    keep = invocation.open_keep()
    if not dry_run:
        # What a client brought can be shared, and fetched again, only once it is settled.
        with invocation.output.progress("settle") as progress:
            keep.settle_on_the_way(None, progress)
    plan = keep.plan_collection(
        keep_under=keep_under,
        free=free,
        older_than=older_than,
        match=match,
        everything=everything,
    )
    if dry_run or not plan.remove:
        found = preview(plan)
        found = found if dry_run else replace(found, dry_run=False)
        _show(invocation, plan, found, whole=True, everything=everything)
        return
    ask(invocation, plan.remove, plan.bytes_planned)
    with invocation.output.progress("gc") as progress:
        removal = keep.collect(plan, progress)
    _show(invocation, plan, removal, whole=invocation.yes, everything=everything)


def _show(
    invocation: Invocation,
    plan: CollectionPlan,
    removal: Removal,
    *,
    whole: bool,
    everything: bool,
) -> None:
    """Show what became of a plan; `whole` unless a person has just seen the plan."""
    output = invocation.output
    blocks: list[str | Table] = [planned(removal.remove)] if whole and removal.remove else []
    output.emit(
        {**fields(removal), "bytes_short": plan.bytes_short, "notes": list(plan.notes)},
        human=[*blocks, *kept_lines(removal.kept)],
    )
    for note in plan.notes if whole else ():
        output.remark(f"note: {note}")
    if plan.bytes_short:
        output.remark(f"{human.size(plan.bytes_short)} short of what was asked: the rest is kept")
    if not plan.remove:
        more = "" if everything else "; for what more could go: modelkeep gc --all --dry-run"
        output.remark("nothing to remove" + more)
    elif not removal.dry_run:
        output.remark(conclusion(removal.bytes_freed, removal.bytes_pending))
    else:
        output.remark(foreseen("give back", removal))
