"""Asking a person before something goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from modelkeep.cli.failure import DeclinedError
from modelkeep.cli.options import Invocation
from modelkeep.errors import UsageError


def agree(invocation: Invocation, items: Sequence[str], question: str) -> None:
    """Return if a person agrees, said `--yes` before, or there is nothing to ask about."""
    if invocation.yes or not items:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"nobody can be asked, since stdin is not a terminal: {items[0]}",
            hint="--yes does it without asking",
        )
    for item in items:
        invocation.output.tell(item)
    if not invocation.output.ask(question):
        raise DeclinedError("nothing was changed")
