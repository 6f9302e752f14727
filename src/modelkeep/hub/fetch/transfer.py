"""One file on its way here."""

from __future__ import annotations

import random
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from modelkeep.hub.fetch.http import Source
from modelkeep.hub.fetch.partials import Partial
from modelkeep.hub.fetch.pieces import Pieces
from modelkeep.hub.fetch.spans import Spans
from modelkeep.hub.fetch.wanted import Patience, Wanted


@dataclass(eq=False, slots=True)
class Transfer:
    """State of one file. Everything but `partial` and `source` is guarded by the board's lock."""

    wanted: Wanted
    source: Source = field(init=False)
    lock: AbstractContextManager[bool] | None = None
    """The lock of its digest, entered; None before the first look at it."""
    lock_is_real: bool = False
    partial: Partial | None = None
    pieces: Pieces | None = None
    refusals: int = 0
    """How often what arrived, or what was announced, was not the file."""
    failures: int = 0
    """Failed rounds since the last new byte."""
    progressed: bool = False
    """New bytes came since the last failure."""
    ready_at: float = 0.0
    reason: str = ""
    """Why it has to wait until `ready_at`."""
    hashing: bool = False
    hashed: int = 0
    """Bytes from the start that are hashed."""
    kept: int = 0
    """Bytes that were here when it was begun."""
    wake: threading.Event = field(default_factory=threading.Event)
    """Set when the hashing thread has something to do."""

    def __post_init__(self) -> None:
        self.source = Source(self.wanted)

    @property
    def complete(self) -> bool:
        """Every byte is here; none of them checked."""
        return self.pieces is not None and self.pieces.complete

    @property
    def done(self) -> Spans:
        """The bytes that are here."""
        return self.pieces.done if self.pieces is not None else Spans()

    @property
    def unhashed(self) -> int:
        """Bytes that could be hashed and are not, as far as this run brought them."""
        if not self.hashing or self.kept or self.pieces is None:
            return 0  # what an earlier run left is hashed beside the transfer, at its own pace
        return self.pieces.done.prefix() - self.hashed

    def failed(self, now: float, patience: Patience, asked: float | None) -> bool:
        """Take note of a failed request; return False when it is time to give up.

        The many connections that fail together are one failure.
        """
        if self.progressed:
            self.failures, self.progressed = 0, False
        if now >= self.ready_at:
            self.failures += 1
        delay = patience.first_delay * 2.0 ** (self.failures - 1)
        delay = min(delay, patience.max_delay) * random.uniform(0.75, 1.25)  # noqa: S311
        if asked is not None:
            delay = min(asked, patience.max_retry_after)
        self.ready_at = max(self.ready_at, now + delay)
        return self.failures <= patience.attempts
