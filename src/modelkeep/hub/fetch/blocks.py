"""How many bytes a connection reads at a time, and how often it records them."""

from __future__ import annotations

from modelkeep.hub.fetch.pieces import MIB, Piece

# What has been read of a block is lost with the process, so slow connections read small ones; more
# than the largest would leave the core's cache between receiving and writing.
SMALLEST_BLOCK, LARGEST_BLOCK = 32 << 10, 1 << 20
_BLOCK_TAKES_S = 0.01
_NOTE_AT_LEAST_S, _NOTE_AT_MOST_S = 0.005, 1.0


def block_size(piece: Piece, now: float) -> int:
    """Return how many bytes to read at a time, from how fast they have come so far."""
    rate = (piece.position - piece.start) / max(now - piece.began, 1e-6)
    return min(max(int(rate * _BLOCK_TAKES_S), SMALLEST_BLOCK), LARGEST_BLOCK)


def note_interval(size: int) -> int:
    """Return after how many bytes a connection has them recorded.

    What is not recorded is fetched again after a crash, by every connection: little of a small
    file, and without a record of millions of lines for a large one.
    """
    return min(max(size >> 14, SMALLEST_BLOCK), MIB)


def is_note_due(count: int, seconds: float, interval: int) -> bool:
    """Tell whether to record `count` bytes that came in the last `seconds`.

    Recording each `interval` bytes is for slow links. On a fast one a crash costs moments, and
    recording too often would cost more.
    """
    if seconds < _NOTE_AT_LEAST_S:
        return count >= MIB
    return count >= interval or seconds >= _NOTE_AT_MOST_S
