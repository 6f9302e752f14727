"""How many connections are worth having.

Servers and networks share bandwidth per connection, so several are often faster than one, and more
than enough only disturb others. The number is doubled as long as the total grows with it, taken
back where it does not, and halved when the server or the network complains. No I/O and no clock
here: the engine tells what it sees.
"""

from __future__ import annotations

_WORTH_IT = 1.10
"""Doubling must bring at least this factor."""
_WINDOW_S = 0.05
_PATIENT_WINDOW_S = 0.3
"""Growth is believed after a glance; that there is none, only after a longer look."""
_LONGEST_WINDOW_S = 1.0
_BYTES_PER_STREAM = 1 << 17
"""Bytes per connection that a window must have seen, lest slow links be judged by noise."""
_FIRST_HOLD_S, _LONGEST_HOLD_S = 0.5, 8.0
"""Pause after an attempt that brought nothing; doubled each time."""
_HOLD_AFTER_COMPLAINT_S = 10.0
_COMPLAINT_LASTS_S = 1.0


class Streams:
    """Decides the number of connections, between 1 and `ceiling`. Not thread-safe."""

    def __init__(self, ceiling: int, *, first: int) -> None:
        self._ceiling = max(1, ceiling)
        self.target = min(max(1, first), self._ceiling)
        self._hold = _FIRST_HOLD_S
        self._held_until = 0.0
        self._complained_until = 0.0
        self._window: tuple[float, int] | None = None  # its beginning: time, bytes received by then
        self._before: tuple[int, float] | None = None  # number of connections, and what it brought

    def observe(self, now: float, received: int, flowing: int, *, behind: bool = False) -> int:
        """Take note of the bytes received so far over `flowing` connections; return the target.

        `behind`: bytes come as fast as this machine can take them, so more would not help.
        """
        if now < self._held_until or flowing < self.target or behind:
            # Connections that are still being opened, or a lack of work, say nothing of the link.
            self._window = None
            return self.target
        if self._window is None:
            self._window = now, received
            return self.target
        began, base = self._window
        elapsed, count = now - began, received - base
        enough = elapsed >= _WINDOW_S and count >= _BYTES_PER_STREAM * self.target
        if enough or elapsed >= _LONGEST_WINDOW_S:
            self._judge(now, count / elapsed, elapsed)
        return self.target

    def complained(self, now: float) -> None:
        """The server asked for less, or connections broke: have fewer for a while."""
        if now < self._complained_until:
            return  # many connections hear the same complaint
        self.target = max(1, self.target // 2)
        self._before = self._window = None
        self._complained_until = now + _COMPLAINT_LASTS_S
        self._held_until = now + _HOLD_AFTER_COMPLAINT_S

    def _judge(self, now: float, rate: float, elapsed: float) -> None:
        if self._before is not None:
            fewer, then = self._before
            if rate < then * _WORTH_IT:
                if elapsed >= _PATIENT_WINDOW_S:
                    self._take_back(now, fewer)
                return
            self._hold = _FIRST_HOLD_S
        self._window = None
        self._before = None
        if self.target < self._ceiling:
            self._before = self.target, rate
            self.target = min(self._ceiling, self.target * 2)

    def _take_back(self, now: float, fewer: int) -> None:
        self.target = fewer
        self._before = self._window = None
        self._held_until = now + self._hold
        self._hold = min(self._hold * 2, _LONGEST_HOLD_S)
