"""`modelkeep unpin`."""

from __future__ import annotations

import click

from modelkeep.cli.confirm import agree
from modelkeep.cli.options import REPO, Command, Invocation


@click.command(
    "unpin",
    cls=Command,
    examples=("modelkeep unpin org/name", "modelkeep unpin org/name@v1.0"),
)
@click.argument("repos", metavar="REPO[@REV]...", nargs=-1, required=True, type=REPO)
@click.pass_obj
def command(invocation: Invocation, repos: tuple[str, ...]) -> None:
    """Let go what was pinned.

    A bare name lets go the repo and all of its revisions. Nothing is removed by this. Pins of other
    people are asked about.
    """
    keep = invocation.open_keep()
    others = [pin for pin in keep.pins(*repos) if not pin.is_own]
    agree(
        invocation,
        [f"pinned by {pin.user}: {pin.name}  {pin.reason}".rstrip() for pin in others],
        "end these pins of other people?",
    )
    ended = keep.unpin(*repos)
    invocation.output.emit(
        {"unpinned": ended},
        human=[f"unpinned {pin.name}" for pin in ended],
        quiet=[pin.name for pin in ended],
    )
