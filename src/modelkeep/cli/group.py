"""The `modelkeep` command itself: it imports only the command that was typed."""

from __future__ import annotations

import importlib

import click

from modelkeep.cli.commands import COMMANDS, SECTIONS
from modelkeep.cli.options import Command, Invocation, shared_options

_DESCRIPTION = """Keep one verified copy of every Hugging Face model, loaded from anywhere.

Without a command: what the keep holds, and what to type next.
"""


class LazyGroup(click.Group):
    """A group whose commands are modules that each hold a `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return all names, in the order of the help text."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import and return a command; None for a name that is no command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        found = importlib.import_module(f"modelkeep.cli.{entry.module}").command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or fail naming the nearest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            suggestion = f"; did you mean `{near[0]}`?" if near else ""
            raise click.UsageError(f"there is no command `{name}`{suggestion}", ctx)
        resolved = super().resolve_command(ctx, args)
        if isinstance(resolved[1], Command):
            ctx.ensure_object(Invocation).command = resolved[1]
        return resolved

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands in their sections."""
        width = max(map(len, COMMANDS))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), entry.summary) for name, entry in entries.items()]
                )


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        ctx.ensure_object(Invocation).output.version()
        ctx.exit()


@click.pass_context
def _overview(ctx: click.Context) -> int | None:
    if ctx.invoked_subcommand is not None:
        return None
    from modelkeep.cli.overview import overview

    return overview(ctx.ensure_object(Invocation))


program = LazyGroup(
    name="modelkeep",
    callback=_overview,
    help=_DESCRIPTION,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="COMMAND [ARGS]...",
    params=[
        *shared_options(),
        click.Option(
            ["-V", "--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Show the version and exit.",
        ),
    ],
)
