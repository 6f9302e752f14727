"""Which connection fetches which bytes of a file.

A file is cut in pieces, lowest first, so that hashing can follow close behind. A connection that
finds nothing left to begin takes over the second half of the piece that has most to go, or all of
one that stands still, so that no slow connection holds up the end. Nothing here does I/O; times
are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from modelkeep.hub.fetch.spans import Spans

MIB = 1 << 20
SPLIT_FROM = 32 * MIB
"""Smaller files are fetched whole: the requests would cost more than they gain."""
_SMALLEST, _LARGEST = 4 * MIB, 64 * MIB
_ROUND_TRIPS = 20
"""For how many round trips a connection should be busy with a piece: one of them brings nothing."""
_LEAST_WORTH_STEALING = MIB // 4
_SOON_DONE_S = 0.25
"""A piece that will be done by then is left alone: asking for part of it takes as long."""
_STANDS_STILL_S = 3.0


@dataclass(eq=False, slots=True)
class Piece:
    """A stretch of a file in the hands of one connection, which moves `position` up to `stop`."""

    start: int
    stop: int
    began: float = 0.0
    """When it was handed out."""
    position: int = field(init=False)
    answered: float | None = None
    """When its first bytes came."""
    moved_at: float = field(init=False)
    """When the last bytes came, or the request was made."""
    claimed: int = field(init=False)
    """Up to where its holder may be writing; at least `position`."""
    noted: int = field(init=False)
    """Up to where the record knows of it."""

    def __post_init__(self) -> None:
        self.position = self.claimed = self.noted = self.start
        self.moved_at = self.began

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.stop - self.position

    def time_left(self, now: float) -> float:
        """Estimate the seconds until it is done."""
        came, took = self.position - self.start, now - self.began
        # Before its first byte comes, it is as slow as it has been so far.
        return self.left * took / came if came else took


def piece_length(left: int, streams: int, pace: Pace) -> int:
    """Return how long the next piece should be, in whole MiB.

    `left` bytes are to be begun by `streams` connections. Pieces are as short as round trips allow,
    so that the unbroken beginning, which can be hashed, keeps up, and still shorter towards the
    end, so that connections finish together.
    """
    worthwhile = min(max(int(pace.rate * pace.latency * _ROUND_TRIPS), 2 * _SMALLEST), _LARGEST)
    fair = left // (2 * max(streams, 1))
    return -(-max(min(worthwhile, fair), worthwhile // 4, _SMALLEST) // MIB) * MIB


@dataclass(slots=True)
class Pace:
    """What one connection has given lately; zeros until that is known."""

    rate: float = 0.0
    """Bytes per second while they came."""
    latency: float = 0.0
    """Seconds from a request to the first bytes."""

    def learn(self, piece: Piece, now: float) -> None:
        """Take a piece that is let go of into account."""
        came = piece.position - piece.start
        if piece.answered is None or came < MIB or now <= piece.answered:
            return  # too little to tell
        rate, latency = came / (now - piece.answered), piece.answered - piece.began
        weight = 0.3 if self.rate else 1.0
        self.rate += weight * (rate - self.rate)
        self.latency += weight * (latency - self.latency)


class Pieces:
    """What is done, in hand and to do of one file. Not thread-safe."""

    def __init__(self, size: int, done: Spans) -> None:
        self.size = size
        self.done = done
        self.in_hand: list[Piece] = []
        self.whole_only = False
        """The server ignores ranges: only a whole file can be asked for."""
        self._to_do = done.gaps(size)

    @property
    def complete(self) -> bool:
        """Every byte is there."""
        return self.done.total == self.size

    def take(self, now: float, streams: int = 1, pace: Pace | None = None) -> Piece | None:
        """Return the next piece to fetch, None where there is none to begin.

        `streams` and `pace` as for `piece_length`.
        """
        if self.whole_only:
            if self.in_hand or self.complete:
                return None
            return self._hand_out(0, self.size, now)
        if self._to_do:
            start, stop = self._to_do[0]
            length = stop - start
            if self.size >= SPLIT_FROM:
                left = sum(b - a for a, b in self._to_do)
                length = min(length, piece_length(left, streams, pace or Pace()))
            self._to_do[:1] = [(start + length, stop)] if start + length < stop else []
            return self._hand_out(start, start + length, now)
        return None

    def steal(self, now: float) -> Piece | None:
        """Take over part of a piece in hand; its holder sees the new `stop`."""
        if self.whole_only or self.size < SPLIT_FROM:
            return None
        open_pieces = [p for p in self.in_hand if p.claimed < p.stop]
        victim = max(open_pieces, key=lambda piece: piece.left, default=None)
        still = [p for p in open_pieces if now - p.moved_at > _STANDS_STILL_S]
        if still:
            victim = max(still, key=lambda piece: piece.left)
            middle = victim.claimed
        elif (
            victim is None
            or victim.left < 2 * _LEAST_WORTH_STEALING
            or victim.time_left(now) < _SOON_DONE_S
        ):
            return None
        else:
            middle = max(victim.claimed, victim.position + victim.left // 2)
        stop, victim.stop = victim.stop, middle
        return self._hand_out(middle, stop, now)

    def claim(self, piece: Piece, count: int) -> list[tuple[int, int]] | None:
        """Return which of the next `count` bytes of a piece are to be written.

        No byte that is here is written again, and none by two holders: it may have been hashed.
        None: the piece is no longer one of this file.
        """
        if piece not in self.in_hand:
            return None
        piece.claimed = min(piece.position + count, piece.stop)
        return self.done.missing(piece.position, piece.claimed)

    def advance(self, piece: Piece, count: int, now: float) -> int:
        """Count bytes that are in the file now; return how many of them are new."""
        new = self.done.add(piece.position, piece.position + count)
        piece.position += count
        piece.claimed = max(piece.claimed, piece.position)
        piece.moved_at = now
        if piece.answered is None:
            piece.answered = now
        return new

    def put_back(self, piece: Piece) -> None:
        """Let go of a piece; what it lacks is to be done again."""
        if piece not in self.in_hand:
            return  # of a file that was started anew meanwhile
        self.in_hand.remove(piece)
        if piece.left > 0 and not self.whole_only:
            self._to_do = sorted([*self._to_do, (piece.position, piece.stop)])

    def ignore_ranges(self, piece: Piece) -> bool:
        """Note that the server sends whole files only, and that `piece` is receiving it from 0.

        False where others are still at work on the file: then it has to be asked for again.
        """
        self.forget_ranges()
        if self.in_hand != [piece]:
            return False
        piece.stop = self.size
        return True

    def forget_ranges(self) -> None:
        """Note that the server sends whole files only."""
        self.whole_only = True
        self._to_do = []

    def _hand_out(self, start: int, stop: int, now: float) -> Piece:
        piece = Piece(start, stop, now)
        self.in_hand.append(piece)
        return piece
