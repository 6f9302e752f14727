"""`modelkeep exec`."""

from __future__ import annotations

import click

from modelkeep.cli import launch
from modelkeep.cli.options import REPO, Command, Invocation


@click.command(
    "exec",
    cls=Command,
    failure_code=launch.FAILED,
    context_settings={"allow_interspersed_args": False},
    examples=(
        "modelkeep exec -- python train.py",
        "modelkeep exec --model org/name --fetch -- python serve.py --port 8000",
        "modelkeep exec --explain",
    ),
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="REPO[@REV]",
    type=REPO,
    help="What the command needs; offline if it is all here. Repeatable.",
)
@click.option("--fetch", is_flag=True, help="Pull first what is missing of these models.")
@click.option("--offline/--online", "wish", default=None, help="Decide it yourself.")
@click.option("--explain", is_flag=True, help="Show what would be set and why, and start nothing.")
@click.argument("words", metavar="[--] CMD [ARG]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def command(
    invocation: Invocation,
    models: tuple[str, ...],
    fetch: bool,
    wish: bool | None,
    explain: bool,
    words: tuple[str, ...],
) -> None:
    """Run a command with the keep as its cache.

    Becomes the command: same process, terminal, signals and exit code. While it runs, nobody
    removes the models it was said to need. Failures of its own end with 125, a command that cannot
    be executed with 126, one that is not there with 127.
    """
    if fetch and not models:
        raise click.UsageError("--fetch goes with --model")
    if explain:
        launch.explain(invocation.output, invocation.keep, wish, models, words)
        return
    if not words:
        raise click.UsageError("name the command to run")
    launch.start(invocation.output, invocation.keep, wish, models, words, fetch=fetch)
