"""Real processes that cost no interpreter: forks of the test with all modules loaded."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from modelkeep.fs import syncpoint

Result = TypeVar("Result")

_TIMEOUT_S = 120.0
_started: list[Child[Any]] = []


@dataclass
class Child(Generic[Result]):
    """A process that runs one function."""

    pid: int
    pipe: int

    def ended(self) -> int:
        """Wait for its end; minus the signal that killed it, or 0."""
        status = self._wait(0)
        return os.waitstatus_to_exitcode(status)

    def result(self) -> Result:
        """What the function returned; what it raised is raised here."""
        with os.fdopen(self.pipe, "rb") as pipe:
            answer = pipe.read()
        code = self.ended()
        assert answer, f"the child ended with {code} and said nothing"
        failed, value = pickle.loads(answer)
        if failed:
            raise value
        result: Result = value
        return result

    def killed(self) -> bool:
        """Wait for its end and tell whether a SIGKILL was it; raise what it raised."""
        with os.fdopen(self.pipe, "rb") as pipe:
            answer = pipe.read()
        code = self.ended()
        if answer and pickle.loads(answer)[0]:
            raise pickle.loads(answer)[1]
        return code == -signal.SIGKILL

    def stopped(self) -> None:
        """Wait until it has stopped itself."""
        status = self._wait(os.WUNTRACED)
        assert os.WIFSTOPPED(status), os.waitstatus_to_exitcode(status)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.pipe)
        self.ended()

    def abandon(self) -> None:
        """Kill what nobody has waited for, so that nothing waits for it for ever."""
        with suppress(ChildProcessError, ProcessLookupError):
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)

    def _wait(self, options: int) -> int:
        timer = threading.Timer(_TIMEOUT_S, os.kill, (self.pid, signal.SIGKILL))
        timer.start()
        try:
            return os.waitpid(self.pid, options)[1]
        finally:
            timer.cancel()


def start(function: Callable[[], Result], *, sync: str = "") -> Child[Result]:
    """Run the function in a fork, whose syncpoints obey `sync`."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # The threads of the stand-in Hub stay behind; the child calls the function and ends.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(reading)
        _run(function, sync, writing)
    os.close(writing)
    child: Child[Result] = Child(pid, reading)
    _started.append(child)
    return child


def abandon_all() -> None:
    """Kill the children that a test has left, running or stopped."""
    while _started:
        _started.pop().abandon()


def _run(function: Callable[[], Any], sync: str, writing: int) -> NoReturn:
    try:
        syncpoint._reached.clear()
        os.environ.pop(syncpoint.VARIABLE, None)
        if sync:
            os.environ[syncpoint.VARIABLE] = sync
        try:
            answer = (False, function())
        except Exception as error:
            answer = (True, _portable(error))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
    finally:
        os._exit(0)


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def run(function: Callable[[], Result], *, sync: str = "") -> Result:
    return start(function, sync=sync).result()


def together(functions: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run all at the same time; what each returned."""
    begin = time.monotonic() + 0.05

    def waiting(function: Callable[[], Result]) -> Callable[[], Result]:
        def run() -> Result:
            time.sleep(max(0.0, begin - time.monotonic()))
            return function()

        return run

    children = [start(waiting(function)) for function in functions]
    results = []
    while children:
        try:
            results.append(children.pop(0).result())
        except BaseException:
            for child in children:
                child.kill()
            raise
    return results


def steps(function: Callable[[], object], log: Path, *, last: bool = True) -> list[str]:
    """Each place where the function can be killed, as `<step>#<n>`: each step's first, and last."""
    log.unlink(missing_ok=True)
    run(function, sync=f"log:{log}")
    counts = Counter(log.read_text().split())
    return [
        f"{step}#{number}"
        for step, count in counts.items()
        for number in sorted({1, count if last else 1})
    ]
