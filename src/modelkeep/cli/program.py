"""One run of the command line, from arguments to exit code. No failure leaves it as a traceback,
except a mistake of modelkeep itself."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence

import click

from modelkeep.cli import failure
from modelkeep.cli.group import program
from modelkeep.cli.options import Invocation
from modelkeep.cli.output import FORMATS, abandon_stdout, prepare_streams
from modelkeep.errors import ModelkeepError

NAME = "modelkeep"
COMPLETE = "_MODELKEEP_COMPLETE"

_GC_THRESHOLD = 1_000_000


def run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code."""
    prepare_streams()
    # A listing makes a million objects and no cycles; looking for some doubled its time.
    gc.set_threshold(_GC_THRESHOLD)
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(program, {}, NAME, COMPLETE, instruction)
    invocation = Invocation()

    def parsed() -> int | None:
        with program.make_context(NAME, list(arguments), obj=invocation) as context:
            found: int | None = program.invoke(context)
            return found

    return conclude(invocation, arguments, parsed)


def conclude(
    invocation: Invocation, arguments: Sequence[str], work: Callable[[], int | None]
) -> int:
    """Do the work; return the exit code, having shown what failed if something did."""
    try:
        try:
            return work() or 0
        except click.exceptions.Exit as ended:
            return ended.exit_code
        except click.ClickException as error:
            invocation.output.format = _format_of(arguments) or invocation.output.format
            return failure.report(invocation, failure.from_click(invocation, error))
        except ModelkeepError as error:
            return failure.report(invocation, error)
        except KeyboardInterrupt:
            return failure.report(invocation, failure.InterruptedRunError())
        except BrokenPipeError:
            raise
        except OSError as error:
            return failure.report(invocation, failure.from_os(error))
        except Exception as error:
            import traceback

            invocation.output.tell(traceback.format_exc().rstrip())
            bug = failure.BugError(
                f"this is a mistake in modelkeep: {type(error).__name__}",
                hint="please report it with the lines above",
            )
            return failure.report(invocation, bug)
    except BrokenPipeError:
        abandon_stdout()
        return failure.BROKEN_PIPE


def _format_of(arguments: Sequence[str]) -> str | None:
    """Find `--format` where parsing failed before it was reached."""
    words = list(arguments)
    if "--" in words:
        words = words[: words.index("--")]
    for word, after in zip(words, [*words[1:], ""], strict=True):
        value = after if word == "--format" else word.removeprefix("--format=")
        if value != word and value in FORMATS:
            return value
    return None
