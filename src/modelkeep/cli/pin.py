"""`modelkeep pin`."""

from __future__ import annotations

import click

from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.keep.holding import ListedLease


@click.command(
    "pin",
    cls=Command,
    examples=(
        "modelkeep pin org/name --reason 'the demo on Friday'",
        "modelkeep pin org/name@v1.0 datasets/org/data",
    ),
)
@click.argument("repos", metavar="REPO[@REV]...", nargs=-1, required=True, type=REPO)
@click.option("--reason", default="", metavar="TEXT", help="Why, for those who want the space.")
@click.pass_obj
def command(invocation: Invocation, repos: tuple[str, ...], reason: str) -> None:
    """Keep repos or revisions from being removed.

    A bare name pins every revision, those to come included; a branch whatever it stands for; a
    commit just that. Neither `rm` nor making room takes away what is pinned, until `modelkeep
    unpin`. Pinning the same again replaces the reason.
    """
    pins = invocation.open_keep().pin(*repos, reason=reason)
    invocation.output.emit(
        {"pins": pins},
        human=[f"pinned {pin.name}{_extent(pin)}" for pin in pins],
        quiet=[pin.name for pin in pins],
    )


def _extent(pin: ListedLease) -> str:
    return "" if pin.revision else ", every revision of it"
