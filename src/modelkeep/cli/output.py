"""The only place that prints: data on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from modelkeep.cli.progress import Display
    from modelkeep.cli.table import Table

FORMATS = ("human", "json", "quiet")
SCHEMA = 1

_RED, _YELLOW, _DIM, _PLAIN = "\033[1;31m", "\033[33m", "\033[2m", "\033[0m"


class Output:
    """Shows results in one of `FORMATS`.

    `json` prints exactly one document per run. `quiet` prints the essential values alone, one per
    line. Colour and moving bars appear on terminals only, colour not where NO_COLOR is set.
    """

    def __init__(self, format: str = "human") -> None:  # noqa: A002 - the option's name
        self.format = format

    @property
    def is_human(self) -> bool:
        """True where a person reads."""
        return self.format == "human"

    def emit(
        self,
        document: Mapping[str, object],
        *,
        human: Iterable[str | Table] = (),
        quiet: Iterable[str] = (),
    ) -> None:
        """Print a result on stdout in the format asked for. Call it once."""
        with _explained():
            if self.format == "json":
                self._write_document(document)
            elif self.format == "quiet":
                for line in quiet:
                    _write(sys.stdout, line)
            sys.stdout.flush()
        self.show(human)

    def show(self, blocks: Iterable[str | Table]) -> None:
        """Show a part of the result to a person at once, before `emit` is called."""
        if self.is_human:
            with _explained():
                for block in blocks:
                    self._write_block(block)
                sys.stdout.flush()

    def remark(self, text: str) -> None:
        """Tell a person something besides the result."""
        if self.is_human:
            _write(sys.stderr, text)

    def tell(self, text: str) -> None:
        """Print a line on stderr, whatever the format."""
        _write(sys.stderr, text)

    def warn(self, text: str) -> None:
        """Warn a person on stderr, whatever the format."""
        _write(sys.stderr, f"{_painted('warning:', _YELLOW, sys.stderr)} {text}")

    def fail(self, document: Mapping[str, object], message: str, hint: str | None) -> None:
        """Report a failure: lines on stderr, with `json` also the document on stdout."""
        if self.format == "json":
            self._write_document(document)
            sys.stdout.flush()
        self.complain(message, hint)

    def complain(self, message: str, hint: str | None) -> None:
        """Print an error and what to do about it on stderr."""
        _write(sys.stderr, f"{_painted('error:', _RED, sys.stderr)} {message}")
        if hint:
            _write(sys.stderr, f"{_painted('hint:', _DIM, sys.stderr)} {hint}")

    def ask(self, question: str) -> bool:
        """Ask a person on the terminal; True for yes."""
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:
            _write(sys.stderr, "")
        return answer.strip().lower() in ("y", "yes")

    def progress(self, doing: str) -> AbstractContextManager[Display]:
        """Show how a transfer goes, on stderr, while the context lasts."""
        from modelkeep.cli import progress

        if is_terminal(sys.stderr):
            return progress.Bar(doing, self.tell)
        if self.is_human:
            return progress.Lines(doing, self.tell)
        return progress.Display()

    def version(self) -> None:
        """Print the version."""
        from modelkeep._version import __version__

        self.emit({"version": __version__}, human=[f"modelkeep {__version__}"], quiet=[__version__])

    def _write_document(self, document: Mapping[str, object]) -> None:
        from modelkeep.cli.document import text

        _write(sys.stdout, text({"schema": SCHEMA, **document}))

    def _write_block(self, block: str | Table) -> None:
        if isinstance(block, str):
            _write(sys.stdout, block)
        elif is_terminal(sys.stdout):
            from rich.cells import cell_len
            from rich.console import Console

            console = Console(file=sys.stdout, highlight=False)
            block = block.fitted(console.width)
            if max(map(cell_len, block.plain())) <= console.width:
                console.print(block.rich())
            else:  # the terminal's own wrapping leaves names and paths whole
                self._write_plain(block)
        else:
            self._write_plain(block)

    def _write_plain(self, table: Table) -> None:
        for line in table.plain():
            _write(sys.stdout, line)


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether somebody watches this stream on a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def prepare_streams() -> None:
    """Let any text on any locale pass through stdout; give this process streams it lacks."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # started with that descriptor closed
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - for good
        stream = getattr(sys, name)
        if name != "stdin" and isinstance(stream, TextIOWrapper):
            utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if utf8 else "replace")


def abandon_stdout() -> None:
    """Forget what nobody reads any more, so that the interpreter does not complain at its end."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the system says of stdout into one of modelkeep's errors."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        from modelkeep.fs.oserrors import translate

        abandon_stdout()
        failure = translate(error, doing="writing to stdout")
        failure.hint = None  # what helps a keep does not help a pipe or a file
        raise failure from error


def _painted(text: str, colour: str, stream: TextIO) -> str:
    if os.environ.get("NO_COLOR") or not is_terminal(stream):
        return text
    return f"{colour}{text}{_PLAIN}"


def _write(stream: TextIO | None, line: str) -> None:
    if stream is not None:  # a process may be started with its stderr closed
        stream.write(f"{line}\n")
