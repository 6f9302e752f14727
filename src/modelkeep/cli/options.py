"""What all commands share: the options that stand before or after them, and how help looks.

A command is a module of this package that holds

    @click.command("name", cls=Command, examples=("modelkeep name org/name",))
    @click.argument("repo", type=REPO)
    @click.pass_obj
    def command(invocation: Invocation, repo: str) -> int | None:

It returns its exit code, None for 0, raises `ModelkeepError`, and shows what it did through
`invocation.output`. `--keep`, `--format` and `--yes` are in `invocation`, wherever they stood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from modelkeep import settings
from modelkeep.cli.output import FORMATS, Output
from modelkeep.errors import ModelkeepError
from modelkeep.hub.repo import RepoType
from modelkeep.sizes import parse_size
from modelkeep.times import parse_age, parse_span

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from modelkeep.keep import Keep

    _Type = click.ParamType[float]
else:
    _Type = click.ParamType  # no generic at run time in older clicks


@dataclass(slots=True)
class Invocation:
    """One run of the command line: its shared options, its output and what was typed."""

    output: Output = field(default_factory=Output)
    keep: str | None = None
    yes: bool = False
    command: Command | None = None

    def open_keep(self, *, create: bool = False) -> Keep:
        """Open the keep that is meant; `create` makes a private one where there is none."""
        from modelkeep.keep import Keep

        return Keep.open_or_create(self.keep) if create else Keep.open(self.keep)

    def foresee_keep(self) -> Keep:
        """Open the keep that is meant, or the one that is going to be made, for plans alone."""
        from modelkeep.keep import Keep

        return Keep.foreseen(self.keep)

    def typed(self, command: str = "") -> str:
        """Return what a person types to run a command on the keep that is meant."""
        keep = f"--keep {quote(self.keep)}" if self.keep else ""
        return " ".join(filter(None, ("modelkeep", keep, command)))


class Command(click.Command):
    """A command with the shared options and an `Examples:` section in its help.

    `failure_code` replaces the exit code of modelkeep's own failures where the exit codes of the
    command belong to another program.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        failure_code: int | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(shared_options())
        self.examples = tuple(examples)
        self.failure_code = failure_code

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, one line each, as they are typed."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def shared_options() -> list[click.Parameter]:
    """Return new options `--keep`, `--format` and `--yes`, which write to the `Invocation`."""
    return [
        click.Option(
            ["--keep"],
            metavar="DIR",
            expose_value=False,
            callback=_record,
            help="The keep to use, instead of MODELKEEP_HOME or the default one.",
        ),
        click.Option(
            ["--format"],
            type=click.Choice(FORMATS),
            is_eager=True,
            expose_value=False,
            callback=_record,
            help="How to answer: for people, as one JSON document, or the essential value alone.",
        ),
        click.Option(
            ["-y", "--yes"],
            is_flag=True,
            expose_value=False,
            callback=_record,
            help="Ask nothing.",
        ),
    ]


def _record(ctx: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
    if value is None or value is False:
        return  # not given here; it may have been given on the other side of the command
    invocation = ctx.ensure_object(Invocation)
    if parameter.name == "format":
        invocation.output.format = str(value)
    elif parameter.name == "keep":
        invocation.keep = str(value)
    else:
        invocation.yes = True


class RepoName(click.types.StringParamType):
    """`org/name[@revision]`, checked by the keep; completes with what the keep holds."""

    name = "repo"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the repos of the keep that begin with what was typed."""
        from click.shell_completion import CompletionItem

        from modelkeep.hub.cache import HubCache

        invocation = ctx.find_object(Invocation)
        explicit = invocation.keep if invocation else None
        hub = HubCache(Path(settings.keep_directory(explicit).value, "hub"))
        found = []
        with suppress(ModelkeepError):  # what this caller may not see is not offered
            for repo in hub.repos():
                with suppress(ModelkeepError):
                    if str(repo).startswith(incomplete) and hub.commits(repo):
                        found.append(CompletionItem(str(repo)))
        return found


class Parsed(_Type):
    """What `parse` makes of a text; a usage error that says the same where it raises ValueError."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the value."""
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _rate(text: str) -> int:
    with suppress(ValueError):
        if (rate := parse_size(text)) > 0:
            return rate
    raise ValueError(f"`{text}` is no rate such as 500k, 10M or 1G")


SIZE = Parsed("size", parse_size)
AGE = Parsed("age", parse_age)
TIME = Parsed("time", parse_span)
RATE = Parsed("rate", _rate)
REPO = RepoName()
TYPE = click.Choice([kind.value for kind in RepoType])
