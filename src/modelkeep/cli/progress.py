"""How a transfer goes, on stderr: a moving bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from modelkeep.cli import human
from modelkeep.hub.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_LINE_INTERVAL_S = 5.0
_SHORT_WAIT_S = 2.0
_WIDE = 60
_NUMBERS = 48  # columns for bytes, rate, time left and a short bar
_BYTES = 20


class Display(Progress, AbstractContextManager["Display"]):
    """A `Progress` that shows nothing, and the context in which the others show something.

    `advanced` may be called from several threads.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing anything."""

    def begin(self, bytes_total: int) -> None:
        """So many bytes are going to be worked on; for work that is no transfer of files."""
        self.started(0, bytes_total)


class Lines(Display):
    """Lines for a log: each file when it is done, and every few seconds how far the work is."""

    def __init__(self, doing: str, tell: Callable[[str], None]) -> None:
        self._doing = doing
        self._tell = tell
        self._total = self._done = 0
        self._last = time.monotonic()
        self._wait = ""
        self._lock = threading.Lock()

    def started(self, files: int, bytes_total: int) -> None:
        """Say what is going to be done."""
        self._total += bytes_total
        what = f"{human.counted(files, 'file')}, " if files else ""
        self._say(f"{self._doing}: {what}{human.size(bytes_total)}")

    def advanced(self, count: int) -> None:
        """Say how far the work is, if that has not been said for a while."""
        with self._lock:
            self._done += count
            self._wait = ""
            if time.monotonic() - self._last < _LINE_INTERVAL_S:
                return
            self._say(f"{self._doing}: {human.size(self._done)} of {human.size(self._total)}")

    def waiting(self, reason: str, seconds: float) -> None:
        """Say what is waited for, once until something moves, unless it is short."""
        if seconds < _SHORT_WAIT_S or reason == self._wait:
            return
        self._wait = reason
        self._say(
            f"{self._doing}: waiting up to {human.duration(seconds)}: {human.without_urls(reason)}"
        )

    def file_done(self, name: str) -> None:
        """Name a file that is done."""
        self._say(f"{self._doing}: {name} done")

    def note(self, text: str) -> None:
        """Pass a remark on."""
        self._say(text)

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        self._tell(text)


class Bar(Display):
    """A moving bar: bytes, rate, time left, and what is waited for."""

    def __init__(self, doing: str, tell: Callable[[str], None]) -> None:
        self._doing = doing
        self._tell = tell
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._total = 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def started(self, files: int, bytes_total: int) -> None:  # noqa: ARG002 - the bar counts bytes
        """Show the bar; a second call adds to its length."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as RichProgress

        self._total += bytes_total
        if self._bar is None:
            console = Console(stderr=True)
            wide = console.width >= _WIDE
            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                *((BarColumn(bar_width=None),) if wide else ()),
                DownloadColumn(),
                *((TransferSpeedColumn(), TimeRemainingColumn(compact=True)) if wide else ()),
                console=console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._fitted(self._doing), total=self._total)
        elif self._task is not None:
            self._bar.update(self._task, total=self._total)

    def advanced(self, count: int) -> None:
        """Move the bar."""
        self._update(self._doing, advance=count)

    def waiting(self, reason: str, seconds: float) -> None:
        """Show beside the bar what is waited for, until something moves again."""
        if self._bar is None:
            self.started(0, 0)
        self._update(f"{human.duration(seconds)}: {human.without_urls(reason)}")

    def note(self, text: str) -> None:
        """Show a remark above the bar, which takes over stderr while it is there."""
        self._tell(text)

    def _update(self, text: str, *, advance: int = 0) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=advance, description=self._fitted(text))

    def _fitted(self, text: str) -> str:
        """Return as much of a text as leaves the numbers their place."""
        assert self._bar is not None
        width = self._bar.console.width
        room = max(10, width - (_NUMBERS if width >= _WIDE else _BYTES))
        return text if len(text) <= room else f"{text[: room - 1]}…"
