"""`modelkeep ls`."""

from __future__ import annotations

import click

from modelkeep.cli import human
from modelkeep.cli.listed import COLUMNS, RIGHT, SPARE, full_name, row, totals
from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.cli.table import Table


@click.command(
    "ls",
    cls=Command,
    examples=(
        "modelkeep ls",
        "modelkeep ls 'bert-*' 'datasets/*'",
        "modelkeep ls --format json | jq -r '.repos[].repo'",
    ),
)
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...", type=REPO)
@click.pass_obj
def command(invocation: Invocation, patterns: tuple[str, ...]) -> int:
    """List what the keep holds.

    Patterns are those of the shell and match the full name or the part after the slash: `bert-*`
    matches `google-bert/bert-base-uncased`. SIZE counts each content once per repo, UNIQUE is what
    no other repo shares. Nothing is hashed and no network is used.
    """
    found = invocation.open_keep().list(patterns)
    rows = [row(repo) for repo in found.repos]
    invocation.output.emit(
        {"repos": found.repos, "store": found.store, "closed": found.closed},
        human=[Table(COLUMNS, rows, right=RIGHT, spare=SPARE)] if rows else [],
        quiet=[full_name(repo) for repo in found.repos],
    )
    for closed in found.closed:
        invocation.output.warn(
            f"`{closed.path}` belongs to {closed.owner} and is closed to you;"
            f" {closed.owner}, or root, opens it: {closed.fix}"
        )
    if rows:
        invocation.output.remark(totals(len(rows), found.store))
        return 0
    if found.closed:
        return 0
    if patterns:
        invocation.output.remark("nothing matches; see everything: modelkeep ls")
        return 1
    if found.store.bytes:
        held = human.size(found.store.bytes)
        invocation.output.remark(
            f"no repo, but the store holds {held}; what nothing uses goes: modelkeep gc"
        )
        return 0
    invocation.output.remark("the keep is empty; get something: modelkeep pull org/name")
    return 0
