"""Named points in every protocol where a test can stop or kill the process.

A protocol is right when a crash after any of its steps leaves a state that the next run can use.
Tests prove that by setting `_MODELKEEP_TEST_SYNC` in a child process:

    kill:<step>[#n]   SIGKILL the process when it reaches the step for the nth time (default 1)
    stop:<step>[#n]   SIGSTOP it there instead; the test continues it with SIGCONT
    log:<file>        append the name of each step reached, one per line, to the file

Steps are named `<protocol>:<step>` after what has just happened:

    write:written     the new bytes are in the temporary file and synced
    write:renamed     the name points at them, the directory is not yet synced
    write:done        the directory is synced
    append:written    the line is in the file, not yet synced
    append:done       it is synced
    publish:sealed    the bytes of the temporary file are synced, nothing has the final name
    publish:linked    the final name exists (the temporary one too, unless it was renamed)
    publish:synced    the final name is on the disk
    publish:done      the temporary name is gone
    place:built       the copy, clone or link exists under a temporary name
    place:done        the target name exists; the temporary one may, too
    rotate:copied     a fresh inode with the bytes of the source exists under a temporary name
    rotate:replaced   the source name points at the fresh inode

Other packages name their protocols after the verb that runs them, and call `reach` at each step.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "_MODELKEEP_TEST_SYNC"

_reached: dict[str, int] = {}


def reach(step: str) -> None:
    """Do nothing, unless a test asked for something to happen at this step."""
    wish = os.environ.get(VARIABLE)
    if wish:
        _obey(wish, step)


def _obey(wish: str, step: str) -> None:
    action, _, argument = wish.partition(":")
    if action == "log":
        with open(argument, "a", encoding="utf-8") as log:  # noqa: PTH123 - start-up
            log.write(step + "\n")
        return
    wanted, _, times = argument.partition("#")
    if step != wanted:
        return
    _reached[step] = _reached.get(step, 0) + 1
    if _reached[step] != int(times or 1):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        raise ValueError(f"{VARIABLE} has no action `{action}`")
