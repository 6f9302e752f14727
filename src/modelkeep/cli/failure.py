"""How a run ends that did not go well: lines, document and exit code for every kind of failure."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from modelkeep.cli.options import Invocation
from modelkeep.errors import ModelkeepError, NotFoundError, UsageError

INTERRUPTED = 130
BROKEN_PIPE = 141
BUG = 70


class InterruptedRunError(ModelkeepError):
    """Somebody pressed Ctrl-C."""

    kind = "interrupted"
    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__("interrupted; run the same command again to go on")


class BugError(ModelkeepError):
    """A mistake of modelkeep; its traceback is on stderr."""

    kind = "bug"
    exit_code = BUG


class DeclinedError(ModelkeepError):
    """A person was asked and said no."""

    kind = "declined"


def report(invocation: Invocation, failure: ModelkeepError) -> int:
    """Show a failure and return the exit code."""
    from modelkeep.cli import document

    code = exit_code(invocation, failure)
    found = {"error": document.error(failure, code)}
    if isinstance(failure, InterruptedRunError):
        invocation.output.emit(found)
        invocation.output.tell(failure.message)
    else:
        invocation.output.fail(found, failure.message, failure.hint)
    return code


def exit_code(invocation: Invocation, failure: ModelkeepError) -> int:
    """Return the code a failure ends the run with."""
    own = invocation.command.failure_code if invocation.command else None
    # What lies above is said the same way by everybody: 126 and 127 by shells, 130 for Ctrl-C.
    return failure.exit_code if own is None or failure.exit_code > own else own


def from_click(invocation: Invocation, error: click.ClickException) -> ModelkeepError:
    """Return what the parser found wrong, worded as everything else is."""
    # What stands in such quotes already may be a word of its own that a person typed.
    message = re.sub(r"(?<!`)'([^'`]+)'(?!`)", r"`\1`", error.format_message()).strip().rstrip(".")
    message = " ".join(message.split())
    name = f"{invocation.command.name} " if invocation.command else ""
    return UsageError(message[:1].lower() + message[1:], hint=f"modelkeep {name}--help")


def from_os(error: OSError) -> ModelkeepError:
    """Return what the system refused, where no layer below has said what it was for."""
    from modelkeep.fs.oserrors import translate

    if isinstance(error, FileNotFoundError) and error.filename is None:
        try:
            Path.cwd()
        except FileNotFoundError:
            return NotFoundError("the working directory is gone", hint="go to another one: cd")
    path = None if error.filename is None else Path(os.fsdecode(error.filename))
    return translate(error, path, doing="working")
