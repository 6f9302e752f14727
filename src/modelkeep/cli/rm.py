"""`modelkeep rm`."""

from __future__ import annotations

import sys

import click

from modelkeep.cli import human
from modelkeep.cli.document import fields
from modelkeep.cli.failure import DeclinedError
from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.cli.table import Table
from modelkeep.errors import UsageError
from modelkeep.hub.remove import Removal, RemovalPlan, preview


@click.command(
    "rm",
    cls=Command,
    examples=(
        "modelkeep rm org/name --dry-run",
        "modelkeep rm org/name@v1.0 datasets/org/data",
        "modelkeep rm org/name --yes",
    ),
)
@click.argument("repos", metavar="REPO[@REV]...", nargs=-1, required=True, type=REPO)
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.pass_obj
def command(invocation: Invocation, repos: tuple[str, ...], dry_run: bool) -> None:
    """Remove repos or revisions from the keep.

    Shows what goes and asks. A revision removes its commit and every ref to it, a bare name the
    whole repo. Content that another repo or another registered cache uses stays, and its space with
    it. If one of several names is not there, nothing is removed.
    """
    keep = invocation.open_keep()
    plan = keep.plan_removals((repo, None) for repo in dict.fromkeys(repos))
    if dry_run:
        _show(invocation, preview(plan))
        return
    if not invocation.yes:
        _ask(invocation, plan)
    _show(invocation, keep.remove(plan))


def _ask(invocation: Invocation, plan: RemovalPlan) -> None:
    """Return if a person agrees."""
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked: stdin is not a terminal",
            hint="--yes removes without asking, --dry-run shows what would go",
        )
    for item in plan.remove:
        invocation.output.tell(f"remove  {item.name}  {human.size(item.bytes)}")
    if not invocation.output.ask(f"remove these, up to {human.size(plan.bytes_planned)}?"):
        raise DeclinedError("nothing was removed")


def _show(invocation: Invocation, removal: Removal) -> None:
    rows = [
        (item.name, human.size(item.bytes), human.ago(item.last_used), item.reason)
        for item in removal.remove
    ]
    invocation.output.emit(
        fields(removal),
        human=[
            Table(("remove", "size", "used", "reason"), rows, right=frozenset({"size"})),
            *(f"kept {item.name}: {item.reason}" for item in removal.kept),
        ],
    )
    if removal.dry_run:
        planned = human.size(removal.bytes_planned)
        invocation.output.remark(f"would remove {planned}; nothing was changed")
    else:
        pending = removal.bytes_pending
        waiting = f"; {human.size(pending)} when others let go" if pending else ""
        invocation.output.remark(f"freed {human.size(removal.bytes_freed)}{waiting}")
