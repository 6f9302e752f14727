"""The command line: one module per command, and `main`, which runs the one that was typed."""

from __future__ import annotations

import sys

_INTERRUPTED = 130  # `failure.INTERRUPTED`, whose module is one of those


def main() -> int:
    """Run `modelkeep` with this process's arguments; return its exit code.

    Ctrl-C while modules are still being imported ends it without a word.
    """
    try:
        return _run()
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run() -> int:
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        # Answered here because the parser alone takes longer to import than all of this.
        from modelkeep.cli.output import Output, prepare_streams

        prepare_streams()
        Output().version()
        return 0
    from modelkeep.cli import quick

    code = quick.run(arguments)
    if code is not None:
        return code
    from modelkeep.cli.program import run

    return run(arguments)
