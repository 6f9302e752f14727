"""`modelkeep env`."""

from __future__ import annotations

import click

from modelkeep.cli import launch
from modelkeep.cli.options import Command, Invocation
from modelkeep.runtime.shells import SHELLS


@click.command(
    "env",
    cls=Command,
    examples=(
        'eval "$(modelkeep env)"',
        "modelkeep env --for fish | source",
        "docker run --env-file <(modelkeep env --for docker) -v /srv/models:/srv/models IMAGE",
    ),
)
@click.option(
    "--for",
    "shell",
    type=click.Choice(SHELLS),
    default="sh",
    show_default=True,
    help="Whose language to print.",
)
@click.option("--offline/--online", "wish", default=None, help="Decide it yourself.")
@click.pass_obj
def command(invocation: Invocation, shell: str, wish: bool | None) -> None:
    """Print the variables that let loaders use the keep.

    Tokens, data sets and compiled code stay private. Whether to be offline is taken from what is
    known already: nothing is asked over the network. For docker they are the lines of an
    `--env-file`; the keep has to be mounted in the container at the path it has here.
    """
    launch.show_environment(invocation.output, invocation.keep, shell, wish)
