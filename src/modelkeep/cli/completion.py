"""`modelkeep completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from modelkeep.cli.options import Command, Invocation


@click.command(
    "completion",
    cls=Command,
    examples=(
        'eval "$(modelkeep completion bash)"',
        "modelkeep completion zsh > ~/.zfunc/_modelkeep",
        "modelkeep completion fish > ~/.config/fish/completions/modelkeep.fish",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_obj
def command(invocation: Invocation, shell: str) -> None:
    """Print the tab completion of a shell.

    It completes commands, options and the names of the repos in the keep.
    """
    from modelkeep.cli.group import program
    from modelkeep.cli.program import COMPLETE, NAME

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(program, {}, NAME, COMPLETE).source()
    invocation.output.emit({"shell": shell, "script": script}, human=[script], quiet=[script])
