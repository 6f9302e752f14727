"""Asks about paths without waiting for ever: a dead server or FUSE daemon answers nothing at all.

A call that hangs in the kernel can be neither interrupted nor timed out by its own process. So a
child makes the calls, one after another, and the parent watches: where an answer is overdue, the
child is left behind and another one goes on with the rest.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO, NoReturn, TypeVar

from modelkeep.fs.mounts import Mount, is_shared, table, under

Answer = TypeVar("Answer")


class Patience:
    """How many seconds an answer about a path may take: fewer where a server is behind it."""

    def __init__(
        self, mounts: Sequence[Mount] | None = None, *, shared_s: float = 1.0, local_s: float = 3.0
    ) -> None:
        self._mounts = table() if mounts is None else mounts
        self._shared_s = shared_s
        self._local_s = local_s  # a disk may have to spin up, a link may lead to a server

    def seconds(self, path: str) -> float:
        """Return how long to wait for an answer about a path."""
        return self._local_s if self._server(path) is None else self._shared_s

    def is_lost_with(self, path: str, silent: str) -> bool:
        """Tell whether a path is behind the same server as one that got no answer."""
        server = self._server(path)
        return server is not None and server == self._server(silent)

    def _server(self, path: str) -> str | None:
        mount = under(self._mounts, path)  # of /proc, one process may hang and the others not
        return mount.point if mount and is_shared(mount.kind) and mount.kind != "proc" else None


def ask(
    questions: Sequence[str], reply: Callable[[str], Answer], patience: Patience
) -> Iterator[tuple[str, Answer | None]]:
    """Yield each path with what `reply` returned for it in another process.

    None: there was no answer in time, and nothing else was asked of that server. `reply` returns
    what can be pickled, never None, and raises nothing.
    """
    left = list(questions)
    while left:
        pid, answers = _start(left, reply)
        silent = True
        try:
            while left:
                question = left.pop(0)
                answer = _receive(answers, patience.seconds(question))
                silent = answer is None
                yield question, answer
                if silent:
                    break
        finally:
            answers.close()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            # While its call hangs it cannot end, and nobody waits for it.
            os.waitpid(pid, os.WNOHANG if silent else 0)
        lost = [path for path in left if silent and patience.is_lost_with(path, question)]
        left = [path for path in left if path not in lost]
        yield from ((path, None) for path in lost)


def _start(questions: Sequence[str], reply: Callable[[str], Answer]) -> tuple[int, BinaryIO]:
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Later Pythons warn of threads; the child asks the kernel, and ends.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _answer(questions, reply, writing)
    os.close(writing)
    return pid, os.fdopen(reading, "rb", buffering=0)


def _answer(questions: Sequence[str], reply: Callable[[str], Answer], writing: int) -> NoReturn:
    try:
        # A child that hangs must keep no terminal and no pipe of ours open.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        for question in questions:
            data = pickle.dumps(reply(question))
            os.write(writing, len(data).to_bytes(4, "little") + data)
    finally:
        os._exit(0)


def _receive(answers: BinaryIO, seconds: float) -> Answer | None:
    end = time.monotonic() + seconds
    length = _read(answers, 4, end)
    data = _read(answers, int.from_bytes(length, "little"), end) if length else None
    if data is None:
        return None
    answer: Answer = pickle.loads(data)  # noqa: S301 - our own child wrote it
    return answer


def _read(answers: BinaryIO, count: int, end: float) -> bytes | None:
    data = b""
    while len(data) < count:
        ready, _, _ = select.select([answers], [], [], max(0.0, end - time.monotonic()))
        part = answers.read(count - len(data)) if ready else b""
        if not part:
            return None
        data += part
    return data
