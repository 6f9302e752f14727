"""Becoming another command, so that nobody can tell we were here."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from shlex import quote
from typing import NoReturn

from modelkeep.errors import ModelkeepError
from modelkeep.fs import oserrors

_SHELL = "/bin/sh"
# Python ignores these for itself, and what is ignored stays so across exec.
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")
_INITIAL_ENVIRONMENT = "/proc/self/environ"


class CommandNotFoundError(ModelkeepError):
    """There is no such command; 127, as of a shell."""

    kind = "command_not_found"
    exit_code = 127


class CannotExecuteError(ModelkeepError):
    """The command is there and cannot be executed; 126, as of a shell."""

    kind = "cannot_execute"
    exit_code = 126


def become(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Replace this process by a command, found on the PATH of `environ`. Returns never.

    It has the same pid, stdin, terminal, open files, signal dispositions and signal mask as if it
    had been started in our place. Raises CommandNotFoundError or CannotExecuteError.
    """
    environ = _without_locale_coercion(environ)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with _signals_as_found():
        refused = None
        for program in _candidates(command[0], environ):
            try:
                _execute(program, command, environ)
            except (FileNotFoundError, NotADirectoryError):
                if os.path.isfile(program):
                    raise CommandNotFoundError(
                        f"`{program}` needs an interpreter that is not here",
                        hint="look at its first line",
                        path=program,
                    ) from None
            except PermissionError as error:
                refused = refused or (program, error)
            except OSError as error:
                raise CannotExecuteError(
                    oserrors.translate(error, doing="starting").message, path=program
                ) from error
    if refused is not None:
        raise _cannot_execute(*refused)
    raise CommandNotFoundError(
        f"there is no command `{command[0]}`",
        hint="check the spelling, or PATH" if "/" not in command[0] else None,
    )


def _execute(program: str, command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    try:
        os.execve(program, [*command], environ)  # noqa: S606 - no shell is the point
    except OSError as error:
        if not oserrors.is_no_program(error):
            raise
        # A script without a first line that names its interpreter is one for sh, by execvp(3).
        os.execve(_SHELL, [_SHELL, program, *command[1:]], environ)  # noqa: S606


def _candidates(name: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield where a command may be, in the order in which execvp(3) looks."""
    if "/" in name:
        yield name
    elif name:
        for folder in os.get_exec_path(environ):
            yield os.path.join(folder, name)


def _cannot_execute(program: str, error: PermissionError) -> CannotExecuteError:
    if os.path.isdir(program):
        return CannotExecuteError(f"`{program}` is a folder, not a command", path=program)
    return CannotExecuteError(
        f"`{program}` cannot be executed by you",
        hint=f"chmod +x {quote(program)}" if not os.access(program, os.X_OK) else None,
        path=program,
        errno=error.errno,
    )


@contextmanager
def _signals_as_found() -> Iterator[None]:
    """Give the signals that Python ignores their default, until the context ends."""
    numbers = [getattr(signal, name) for name in _IGNORED_BY_PYTHON if hasattr(signal, name)]
    old = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _without_locale_coercion(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Leave out LC_CTYPE where Python itself has set it (PEP 538), as it does in the C locale."""
    if "LC_CTYPE" not in environ:
        return environ
    try:
        with open(_INITIAL_ENVIRONMENT, "rb") as file:
            initial = file.read().split(b"\0")
    except OSError:
        return environ
    if any(entry.startswith(b"LC_CTYPE=") for entry in initial):
        return environ
    return {name: value for name, value in environ.items() if name != "LC_CTYPE"}
