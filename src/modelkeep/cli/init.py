"""`modelkeep init`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import click

from modelkeep.cli.options import Command, Invocation
from modelkeep.settings import MODES

if TYPE_CHECKING:
    from modelkeep.store.store import Mode


@click.command(
    "init",
    cls=Command,
    examples=(
        "modelkeep init",
        "modelkeep init /srv/models --mode group --group models",
        "modelkeep init --activate",
    ),
)
@click.argument(
    "directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False, readable=False)
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    help="Who writes: you alone, as by default, or all members of a group.",
)
@click.option("--group", metavar="NAME", help="The group of a group keep; your own by default.")
@click.option(
    "--activate",
    is_flag=True,
    help="Let loaders use it from the next login on: yours, or for root all who can read it.",
)
@click.pass_obj
def command(
    invocation: Invocation,
    directory: str | None,
    mode: str | None,
    group: str | None,
    activate: bool,
) -> None:
    """Make a keep, for yourself or for a group.

    A private keep needs no init: the first pull makes one. A keep that is there already is left as
    it is. A group keep belongs to the group that --group names: all its members, and nobody else,
    read and write it. What loaders need to know is printed for a shell's start-up file;
    `--activate` puts it there.
    """
    from modelkeep.keep import Keep
    from modelkeep.runtime import activate as activation

    if group and mode != "group":
        raise click.UsageError("--group goes with --mode group")
    keep = Keep.create(directory or invocation.keep, mode=cast("Mode | None", mode), group=group)
    _, shell = activation.startup_file(os.environ)
    lines = activation.lines(keep.directory, shell)
    file = activation.install(keep.directory) if activate else None
    invocation.output.emit(
        {
            "keep": {"dir": keep.directory, "mode": keep.store.mode, "group": keep.group},
            "activation": {"file": file, "lines": lines.splitlines()},
        },
        human=[
            f"keep     {keep.directory} ({' '.join(filter(None, (keep.store.mode, keep.group)))})"
        ],
        quiet=[str(keep.directory)],
    )
    if file is None:
        invocation.output.remark(
            "for loaders to use it, in a shell's start-up file (--activate writes them):"
        )
        invocation.output.remark(lines.rstrip())
    else:
        invocation.output.remark(f"loaders use it from the next login on, by {file}")
        if file == activation.PROFILE:
            invocation.output.remark("that is so for every user who can read the keep")
        elif os.geteuid() == 0:
            invocation.output.remark("that is so for root alone: others cannot read the keep")
