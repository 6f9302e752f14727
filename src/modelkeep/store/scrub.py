"""Works through many files with several threads, within a time, and can be stopped at any moment.

What matters most comes first in the list. Nothing of the work itself is kept in memory but what it
returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from modelkeep.fs.cores import cores


class Sized(Protocol):
    """Something to work on, and how many bytes that means."""

    @property
    def size(self) -> int:
        """Bytes."""


Task = TypeVar("Task", bound=Sized)
Result = TypeVar("Result")
Progress = Callable[[int], None]


class StoppedError(Exception):
    """Raised inside the work when the run was stopped; it never leaves the run."""


class Run(Generic[Task, Result]):
    """One run over some tasks, in their order.

    `work` gets a task and what to tell of every piece of bytes, from several threads at once. With
    `max_seconds` a task is begun only if it should be done by then, at the rate of this run so far;
    smaller ones behind it may still be. The first ones, one for each thread, are always begun, so
    that every run gets something done. `results` and `left` are valid at any time, also after an
    interruption.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        work: Callable[[Task, Progress], Result],
        *,
        jobs: int | None = None,
        max_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.results: list[Result] = []
        self.left: list[Task] = []
        self._tasks = tasks
        self._work = work
        self._jobs = max(1, min(jobs or cores(), len(tasks)))
        self._max_seconds = max_seconds
        self._progress = progress
        self._next = self._bytes = 0
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def go(self) -> None:
        """Do the work; return when all is done or the time is up.

        KeyboardInterrupt, and whatever `work` raises, leaves it after all threads have stopped.
        """
        if not self._tasks:
            return
        try:
            with ThreadPoolExecutor(self._jobs) as pool:
                threads = [pool.submit(self._loop) for _ in range(self._jobs)]
                try:
                    for thread in threads:
                        thread.result()
                finally:
                    self._stop.set()
        finally:
            self.left.extend(self._tasks[self._next :])

    def _loop(self) -> None:
        while (task := self._take()) is not None:
            try:
                result = self._work(task, self._advanced)
            except BaseException as error:
                self._stop.set()
                with self._lock:
                    self.left.append(task)
                if isinstance(error, StoppedError):
                    return
                raise
            with self._lock:
                self.results.append(result)

    def _take(self) -> Task | None:
        with self._lock:
            while self._next < len(self._tasks) and not self._stop.is_set():
                task = self._tasks[self._next]
                self._next += 1
                if self._next <= self._jobs or self._fits(task):
                    return task
                self.left.append(task)
            return None

    def _fits(self, task: Task) -> bool:
        if self._max_seconds is None:
            return True
        passed = time.monotonic() - self._started
        if passed >= self._max_seconds:
            return False
        return passed + task.size * passed * self._jobs / max(self._bytes, 1) <= self._max_seconds

    def _advanced(self, count: int) -> None:
        if self._stop.is_set():
            raise StoppedError
        with self._lock:
            self._bytes += count
        if self._progress is not None:
            self._progress(count)
