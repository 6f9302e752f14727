"""Runs plain `env` and `exec` without the parser, whose import takes longer than they do.

They stand in login scripts and before every command of a job. Whatever is not plain (help, formats,
mistakes) is left to the parser, so that there is one place for all that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelkeep.cli.output import Output, prepare_streams

_COMMANDS = ("env", "exec")
_WISHES = {"--offline": True, "--online": False}


def run(arguments: Sequence[str]) -> int | None:
    """Run a plain `env` or `exec`; None where the parser should see the arguments."""
    words = list(arguments)
    keep = _Values("--keep")
    while keep.take(words):
        pass
    if not words or words[0] not in _COMMANDS:
        return None
    name = words.pop(0)
    work = _plan(name, words, keep)
    if work is None:
        return None
    prepare_streams()
    output = Output()
    try:
        work(output)
    except (Exception, KeyboardInterrupt) as error:
        return _failed(arguments, name, output, error)
    return 0


def _plan(name: str, words: list[str], keep: _Values) -> Callable[[Output], None] | None:
    own = _Values("--model" if name == "exec" else "--for")
    wish = None
    fetch = False
    while words and words[0].startswith("-") and words[0] != "--":
        if words[0] in _WISHES:
            wish = _WISHES[words.pop(0)]
        elif name == "exec" and words[0] == "--fetch":
            fetch = bool(words.pop(0))
        elif not (keep.take(words) or own.take(words)):
            return None
    if name == "exec":
        command = words[1:] if words[:1] == ["--"] else words
        if not command or (fetch and not own.all):
            return None
        return lambda output: _exec(output, keep.last, wish, own.all, command, fetch=fetch)
    return None if words else _env(keep.last, wish, own.last or "sh")


class _Values:
    """The values of one option that takes any number of them."""

    def __init__(self, option: str) -> None:
        self.option = option
        self.all: list[str] = []

    @property
    def last(self) -> str | None:
        return self.all[-1] if self.all else None

    def take(self, words: list[str]) -> bool:
        """Take the option and its value from the front, if it stands there."""
        if len(words) > 1 and words[0] == self.option:
            self.all.append(words[1])
            del words[:2]
            return True
        if words and words[0].startswith(f"{self.option}="):
            self.all.append(words.pop(0).partition("=")[2])
            return True
        return False


def _env(keep: str | None, wish: bool | None, shell: str) -> Callable[[Output], None] | None:
    from modelkeep.cli import launch
    from modelkeep.runtime.shells import SHELLS

    if shell not in SHELLS:
        return None
    return lambda output: launch.show_environment(output, keep, shell, wish)


def _exec(
    output: Output,
    keep: str | None,
    wish: bool | None,
    models: Sequence[str],
    command: Sequence[str],
    *,
    fetch: bool,
) -> None:
    from modelkeep.cli import launch

    launch.start(output, keep, wish, models, command, fetch=fetch)


def _failed(arguments: Sequence[str], name: str, output: Output, error: BaseException) -> int:
    """End a run that went wrong as every other one does."""
    from importlib import import_module

    from modelkeep.cli.options import Invocation
    from modelkeep.cli.program import conclude

    def again() -> None:
        raise error

    command = import_module(f"modelkeep.cli.{name}").command
    return conclude(Invocation(output, command=command), arguments, again)
