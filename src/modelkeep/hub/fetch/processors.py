"""Whether the processors are what a fetch waits for."""

from __future__ import annotations

from modelkeep.fs.cores import cores

_LOOK_EVERY_S = 0.05
_BUSY = 0.6


class Processors:
    """Watches what share of the processors this process takes. Not thread-safe.

    Times are passed in: of the clock, and seconds of processor time used so far.
    """

    def __init__(self, now: float, used: float, *, count: int | None = None) -> None:
        self._count = count or cores()
        self._looked = now, used
        self._busy = False

    def busy(self, now: float, used: float) -> bool:
        """Tell whether more connections would only take processor time from one another.

        Receiving, writing and hashing leave the rest to the kernel and to others, so a process that
        is held up by nothing else does not get all of the time.
        """
        then, before = self._looked
        if now - then >= _LOOK_EVERY_S:
            self._looked = now, used
            self._busy = used - before > _BUSY * self._count * (now - then)
        return self._busy
