"""Asking a person before something goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from modelkeep.cli.failure import DeclinedError
from modelkeep.cli.options import Invocation
from modelkeep.errors import UsageError


def agree(
    invocation: Invocation,
    items: Sequence[str],
    question: str,
    *,
    declined: str = "nothing was changed",
) -> None:
    """Return if a person agrees, said `--yes` before, or there is nothing to ask about."""
    if invocation.yes or not items:
        return
    for item in items:
        invocation.output.tell(item)
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked: stdin is not a terminal", hint="--yes goes on without asking"
        )
    if not invocation.output.ask(question):
        raise DeclinedError(declined)
