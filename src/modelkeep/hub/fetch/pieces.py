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
_SMALLEST, _LARGEST = 8 * MIB, 64 * MIB
_LEAST_WORTH_STEALING = 1 * MIB
_STANDS_STILL_S = 3.0


@dataclass(eq=False, slots=True)
class Piece:
    """A stretch of a file in the hands of one connection, which moves `position` up to `stop`."""

    start: int
    stop: int
    position: int = field(init=False)
    moved_at: float = 0.0
    """When the last bytes came, or the request was made."""
    noted: int = field(init=False)
    """Up to where the record knows of it."""

    def __post_init__(self) -> None:
        self.position = self.noted = self.start

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.stop - self.position


def piece_size(size: int, streams: int) -> int:
    """Return how large the pieces of a file should be for up to so many connections."""
    if size < SPLIT_FROM:
        return max(size, 1)
    share = -(-size // max(streams, 1))
    rounded = -(-share // MIB) * MIB
    return min(max(rounded, _SMALLEST), _LARGEST)


class Pieces:
    """What is done, in hand and to do of one file. Not thread-safe."""

    def __init__(self, size: int, done: Spans, streams: int) -> None:
        self.size = size
        self.done = done
        self.in_hand: list[Piece] = []
        self.whole_only = False
        """The server ignores ranges: only a whole file can be asked for."""
        self._length = piece_size(size, streams)
        self._to_do = self._cut(done.gaps(size))

    @property
    def complete(self) -> bool:
        """Every byte is there."""
        return self.done.total == self.size

    def take(self, now: float) -> Piece | None:
        """Return the next piece to fetch, None where there is none to begin."""
        if self.whole_only:
            if self.in_hand or self.complete:
                return None
            return self._hand_out(0, self.size, now)
        if self._to_do:
            return self._hand_out(*self._to_do.pop(0), now)
        return None

    def steal(self, now: float) -> Piece | None:
        """Take over part of a piece in hand; its holder sees the new `stop`."""
        if self.whole_only or self.size < SPLIT_FROM:
            return None
        victim = max(self.in_hand, key=lambda piece: piece.left, default=None)
        still = [p for p in self.in_hand if p.left and now - p.moved_at > _STANDS_STILL_S]
        if still:
            victim = max(still, key=lambda piece: piece.left)
            middle = victim.position
        elif victim is None or victim.left < 2 * _LEAST_WORTH_STEALING:
            return None
        else:
            middle = victim.position + victim.left // 2
        stop, victim.stop = victim.stop, middle
        return self._hand_out(middle, stop, now)

    def advance(self, piece: Piece, count: int, now: float) -> int:
        """Count bytes that are in the file now; return how many of them are new."""
        new = self.done.add(piece.position, piece.position + count)
        piece.position += count
        piece.moved_at = now
        return new

    def put_back(self, piece: Piece) -> None:
        """Let go of a piece; what it lacks is to be done again."""
        self.in_hand.remove(piece)
        if piece.left > 0 and not self.whole_only:
            self._to_do = sorted([*self._to_do, (piece.position, piece.stop)])

    def ignore_ranges(self, piece: Piece) -> None:
        """Note that the server sends whole files only, and that `piece` is receiving it from 0."""
        self.forget_ranges()
        piece.stop = self.size

    def forget_ranges(self) -> None:
        """Note that the server sends whole files only."""
        self.whole_only = True
        self._to_do = []

    def _hand_out(self, start: int, stop: int, now: float) -> Piece:
        piece = Piece(start, stop, moved_at=now)
        self.in_hand.append(piece)
        return piece

    def _cut(self, gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
        # Pieces end at multiples of their size, so that resumed files are cut as fresh ones are.
        found = []
        for start, stop in gaps:
            position = start
            while position < stop:
                end = min(stop, (position // self._length + 1) * self._length)
                found.append((position, end))
                position = end
        return found
