"""A ceiling on bytes per second, shared by all connections."""

from __future__ import annotations

import threading
import time


class RateLimit:
    """A token bucket. Each caller pays for bytes it has received, by waiting.

    A debt is allowed, so that a block larger than the bucket passes and is paid for afterwards:
    the average is exact whatever the block size.
    """

    def __init__(self, rate: int, *, burst: float = 0.1) -> None:
        if rate <= 0:
            raise ValueError("a rate limit is a positive number of bytes per second")
        self._rate = rate
        self._burst = burst
        self._paid_until = time.monotonic()
        self._lock = threading.Lock()

    def block(self) -> int:
        """Return how many bytes to receive at a time, for an even flow."""
        return max(4096, min(1 << 18, self._rate // 32))

    def reserve(self, count: int, now: float) -> float:
        """Account for `count` bytes at the time `now`; return the seconds to wait."""
        with self._lock:
            self._paid_until = max(self._paid_until, now - self._burst) + count / self._rate
            return max(0.0, self._paid_until - now)

    def pay(self, count: int, stop: threading.Event) -> None:
        """Wait until `count` more bytes are allowed, or `stop` is set."""
        if delay := self.reserve(count, time.monotonic()):
            stop.wait(delay)
