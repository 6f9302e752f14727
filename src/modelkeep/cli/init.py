"""`modelkeep init`."""

from __future__ import annotations

import click

from modelkeep.cli.options import Command, Invocation


@click.command(
    "init",
    cls=Command,
    examples=(
        "modelkeep init",
        "modelkeep init /srv/models --mode group --group models",
    ),
)
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False))
@click.option(
    "--mode",
    type=click.Choice(("private", "group")),
    default="private",
    show_default=True,
    help="Who writes: you alone, or all members of a group.",
)
@click.option("--group", metavar="NAME", help="The group of a group keep; your own by default.")
@click.pass_obj
def command(invocation: Invocation, directory: str | None, mode: str, group: str | None) -> None:
    """Make a keep, for yourself or for a group.

    A private keep needs no init: the first pull makes one. A keep that is there already is left as
    it is.
    """
    from modelkeep.keep import Keep

    if group and mode != "group":
        raise click.UsageError("--group goes with --mode group")
    keep = Keep.create(
        directory or invocation.keep, mode="group" if mode == "group" else "private", group=group
    )
    document = {"keep": {"dir": keep.directory, "mode": keep.store.mode}}
    invocation.output.emit(
        document,
        human=[f"keep     {keep.directory} ({keep.store.mode})"],
        quiet=[str(keep.directory)],
    )
