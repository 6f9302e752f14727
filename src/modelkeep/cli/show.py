"""`modelkeep show`."""

from __future__ import annotations

import click

from modelkeep.cli import human
from modelkeep.cli.listed import full_name, state
from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.cli.table import Table
from modelkeep.hub.listing import ListedRepo, Revision


@click.command(
    "show",
    cls=Command,
    examples=("modelkeep show org/name", "modelkeep show datasets/org/data --format json"),
)
@click.argument("repo", type=REPO)
@click.pass_obj
def command(invocation: Invocation, repo: str) -> None:
    """Show one repo: revisions, refs, sizes, origin.

    A revision is complete when every file its commit lists is here, so that it loads without a
    network. For the files themselves: `modelkeep where`.
    """
    found = invocation.open_keep().show(repo)
    (listed,) = found.repos
    invocation.output.emit(
        {"repos": found.repos, "store": found.store, "closed": found.closed},
        human=[
            f"{full_name(listed)}  ({state(listed)})",
            f"  size    {human.size(listed.bytes_total)}",
            f"  unique  {human.size(listed.bytes_unique)} that no other repo uses",
            f"  from    {listed.source or 'unknown: no pull or add is on record'}",
            f"  used    {human.ago(listed.last_used)}",
            _revisions(listed),
        ],
        quiet=[revision.commit for revision in listed.revisions],
    )


def _revisions(repo: ListedRepo) -> Table:
    return Table(
        ("commit", "refs", "files", "size", "complete"),
        [
            (
                revision.commit,
                ", ".join(ref for ref, commit in repo.refs.items() if commit == revision.commit),
                str(revision.files),
                human.size(revision.bytes),
                _complete(revision),
            )
            for revision in repo.revisions
        ],
        right=frozenset({"files", "size"}),
    )


def _complete(revision: Revision) -> str:
    if revision.damaged:
        return f"no, {human.counted(revision.damaged, 'file')} damaged"
    return {True: "yes", False: "no", None: "unknown"}[revision.complete]
