"""`modelkeep rm`."""

from __future__ import annotations

import click

from modelkeep.cli.document import fields
from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.cli.removed import ask, conclusion, foreseen, kept_lines, planned
from modelkeep.errors import BusyError
from modelkeep.hub.removal.remove import Removal, preview


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
def command(invocation: Invocation, repos: tuple[str, ...], dry_run: bool) -> int:
    """Remove repos or revisions from the keep.

    Shows what goes and asks. A revision removes its commit and every ref to it, a bare name the
    whole repo. Content that another repo or another registered cache uses stays, and its space with
    it. If one of several names is not there, nothing is removed.
    """
    keep = invocation.open_keep()
    plan = keep.plan_removals((repo, None) for repo in dict.fromkeys(repos))
    if dry_run:
        _show(invocation, preview(plan))
        return 0
    ask(invocation, plan.remove, plan.bytes_planned)
    removal = keep.remove(plan)
    _show(invocation, removal)
    # What somebody began to use since the question stays.
    return BusyError.exit_code if plan.remove and not removal.remove else 0


def _show(invocation: Invocation, removal: Removal) -> None:
    invocation.output.emit(
        fields(removal), human=[planned(removal.remove), *kept_lines(removal.kept)]
    )
    if removal.dry_run:
        invocation.output.remark(foreseen("remove", removal))
    else:
        invocation.output.remark(conclusion(removal.bytes_freed, removal.bytes_pending))
