"""Who does what next: the one place where the threads of a fetch meet."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from modelkeep.hub.fetch.answers import TryAgainError
from modelkeep.hub.fetch.pieces import MIB, SPLIT_FROM, Pace, Piece, Pieces
from modelkeep.hub.fetch.processors import Processors
from modelkeep.hub.fetch.spans import Spans
from modelkeep.hub.fetch.streams import Streams
from modelkeep.hub.fetch.transfer import Transfer
from modelkeep.hub.fetch.wanted import Patience

_LOOK_AGAIN_S = 0.25
_BEHIND = 8 * MIB
"""Bytes to be hashed above which hashing does not keep up."""


@dataclass(frozen=True, slots=True)
class Job:
    """Receive a piece of a file, or begin with the file where there is no piece."""

    transfer: Transfer
    piece: Piece | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing moves."""

    reason: str
    seconds: float


class Board:
    """Hands out jobs to connections and keeps count. All methods are thread-safe."""

    def __init__(self, streams: Streams, patience: Patience) -> None:
        self.received = 0
        """Payload bytes that came over the wire."""
        self.arrived = 0
        """Bytes that are here: received for the first time, or kept."""
        self.retries = 0
        self.peak = 0
        self._streams = streams
        self._patience = patience
        self._useful = streams.target
        self._processors = Processors(time.monotonic(), time.process_time())
        self._to_begin: deque[Transfer] = deque()
        self._active: list[Transfer] = []
        self._running = 0
        self._pace = Pace()
        self._quiet_until = 0.0
        self._quiet_reason = ""
        self._closed = False
        self._changed = threading.Condition()

    def add(self, transfers: Iterable[Transfer]) -> None:
        """Have files begun, or begun again."""
        with self._changed:
            self._to_begin.extend(transfers)
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def next(self) -> Job | None:
        """Wait for something to do; None when the board is closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._running < self.connections() and now >= self._quiet_until:
                    job = self._pick(now)
                    if job is not None:
                        self._running += 1
                        self.peak = max(self.peak, self._running)
                        return job
                self._changed.wait(self._pause(now))
            return None

    def finished(self, job: Job) -> None:
        """Take a job back, whatever came of it."""
        with self._changed:
            self._running -= 1
            if job.piece is not None and job.transfer.pieces is not None:
                self._pace.learn(job.piece, time.monotonic())
                job.transfer.pieces.put_back(job.piece)
            self._changed.notify_all()

    def begun(self, transfer: Transfer, pieces: Pieces) -> None:
        """Start handing out the pieces of a file."""
        with self._changed:
            transfer.pieces = pieces
            transfer.kept = pieces.done.total
            self.arrived += transfer.kept
            self._active.append(transfer)
            self._changed.notify_all()

    def drop(self, transfer: Transfer) -> None:
        """Stop handing out pieces of a file that is complete."""
        with self._changed:
            if transfer in self._active:
                self._active.remove(transfer)

    def restart(self, transfer: Transfer) -> None:
        """Forget all that is here of a file, which is not in `next`'s hands any more."""
        with self._changed:
            self.arrived -= transfer.done.total
            self.retries += 1
            transfer.pieces = None
            transfer.hashing, transfer.hashed = False, 0
            transfer.wake.clear()

    def claim(self, transfer: Transfer, piece: Piece, count: int) -> list[tuple[int, int]] | None:
        """Return which of the next bytes of a piece to write; None: let go of it."""
        with self._changed:
            return transfer.pieces.claim(piece, count) if transfer.pieces else None

    def advance(self, transfer: Transfer, piece: Piece, count: int) -> None:
        """Count bytes that were received and written."""
        with self._changed:
            self.received += count
            if transfer.pieces is None:
                return
            new = transfer.pieces.advance(piece, count, time.monotonic())
            self.arrived += new
            transfer.progressed = transfer.progressed or new > 0

    def whole(self, transfer: Transfer, piece: Piece) -> bool:
        """The server sends the whole file to the holder of `piece`; False: it has to let go."""
        with self._changed:
            return transfer.pieces is not None and transfer.pieces.ignore_ranges(piece)

    def no_ranges(self, transfer: Transfer) -> bool:
        """The server cannot send parts of this file; False: that was known."""
        with self._changed:
            assert transfer.pieces is not None
            if transfer.pieces.whole_only:
                return False
            self.retries += 1
            transfer.pieces.forget_ranges()
            return True

    def failed(self, transfer: Transfer, error: TryAgainError, *, silent: bool) -> bool:
        """Take note of a failed request; False: enough. `silent`: not one byte had come."""
        with self._changed:
            now = time.monotonic()
            self.retries += 1
            transfer.reason = error.reason
            go_on = transfer.failed(now, self._patience, error.delay)
            if error.overloaded or silent:
                self._streams.complained(now)
            if error.overloaded:
                self._quiet_until = max(self._quiet_until, transfer.ready_at)
                self._quiet_reason = error.reason
            return go_on

    def claim_hashing(self, transfer: Transfer) -> bool:
        """Tell one caller, once, that it is to hash this complete file."""
        with self._changed:
            if transfer.hashing or not transfer.complete or transfer not in self._active:
                return False
            transfer.hashing = True
            return True

    def prefix(self, transfer: Transfer) -> int:
        """Return how many bytes from the start are here."""
        with self._changed:
            return transfer.done.prefix()

    def snapshot(self, transfer: Transfer) -> Spans:
        """Return a copy of which bytes of a file are here."""
        with self._changed:
            return transfer.done.copy()

    def active(self) -> list[Transfer]:
        """Return the files that are being received."""
        with self._changed:
            return list(self._active)

    def adapt(self) -> int:
        """Let the number of connections follow what they bring; return it."""
        with self._changed:
            now = time.monotonic()
            pieces = [(t, p) for t in self._active if t.pieces for p in t.pieces.in_hand]
            flowing = sum(p.position > p.start or t.wanted.size < SPLIT_FROM for t, p in pieces)
            behind = self._unhashed > _BEHIND or self._processors.busy(now, time.process_time())
            target = self._streams.observe(now, self.received, flowing, behind=behind)
            before, self._useful = self._useful, self.connections()
            if self._useful > before:
                self._changed.notify_all()
            return target

    def connections(self) -> int:
        """Return how many connections are of use now.

        Where hashing is the slowest, one keeps it busy, and others would only take processor time
        from it. That is so when more bytes wait to be hashed than are in hand: as many may wait in
        any case, until an earlier piece is here.
        """
        with self._changed:
            pieces = [p for t in self._active if t.pieces for p in t.pieces.in_hand]
            in_hand = sum(piece.stop - piece.start for piece in pieces)
            return 1 if self._unhashed > max(in_hand, _BEHIND) else self._streams.target

    def waiting(self) -> Waiting | None:
        """Tell why nothing is being received, None where something is."""
        with self._changed:
            if self._running:
                return None
            now = time.monotonic()
            if self._quiet_until > now:
                return Waiting(self._quiet_reason, self._quiet_until - now)
            held = [t for t in self._active if t.ready_at > now and not t.complete]
            first = min(held, key=lambda t: t.ready_at, default=None)
            return Waiting(first.reason, first.ready_at - now) if first else None

    @property
    def _unhashed(self) -> int:
        return sum(transfer.unhashed for transfer in self._active)

    def _pick(self, now: float) -> Job | None:
        ready = [t for t in self._active if t.ready_at <= now and t.pieces is not None]
        for transfer in ready:
            assert transfer.pieces is not None
            if piece := transfer.pieces.take(now, self._streams.target, self._pace):
                return Job(transfer, piece)
        if self._to_begin:
            return Job(self._to_begin.popleft(), None)
        for transfer in ready:
            assert transfer.pieces is not None
            if piece := transfer.pieces.steal(now):
                return Job(transfer, piece)
        return None

    def _pause(self, now: float) -> float:
        times = [t.ready_at for t in self._active if t.ready_at > now]
        if self._quiet_until > now:
            times = [self._quiet_until]
        return min([_LOOK_AGAIN_S, *(moment - now for moment in times)])
