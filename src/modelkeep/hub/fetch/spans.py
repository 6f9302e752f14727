"""Sets of byte positions, kept as disjoint half-open intervals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Spans:
    """The bytes of a file that are there. Not thread-safe."""

    __slots__ = ("_starts", "_stops", "total")

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.total = 0
        for start, stop in spans:
            self.add(start, stop)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._stops, strict=True)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Spans({list(self)})"

    def copy(self) -> Spans:
        """Return an independent copy."""
        return Spans(self)

    def add(self, start: int, stop: int) -> int:
        """Add [start, stop); return how many of these bytes are new."""
        if start >= stop:
            return 0
        first = bisect_left(self._stops, start)  # the first interval that touches or follows
        last = bisect_right(self._starts, stop)  # the first one beyond reach
        known = sum(
            max(0, min(stop, self._stops[i]) - max(start, self._starts[i]))
            for i in range(first, last)
        )
        if first < last:
            joined = min(start, self._starts[first]), max(stop, self._stops[last - 1])
        else:
            joined = start, stop
        self._starts[first:last] = [joined[0]]
        self._stops[first:last] = [joined[1]]
        new = stop - start - known
        self.total += new
        return new

    def prefix(self) -> int:
        """Return the length of the unbroken beginning."""
        return self._stops[0] if self._starts and self._starts[0] == 0 else 0

    def gaps(self, size: int) -> list[tuple[int, int]]:
        """Return what is missing from [0, size), lowest first."""
        edges = [0, *(edge for span in self for edge in span), size]
        return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return what is missing from [start, stop), lowest first."""
        return Spans([(start, stop)]).minus(self)

    def minus(self, other: Spans) -> list[tuple[int, int]]:
        """Return the intervals that are here and not in `other`."""
        found: list[tuple[int, int]] = []
        for start, stop in self:
            position = start
            index = bisect_right(other._stops, start)
            while index < len(other._starts) and other._starts[index] < stop:
                if other._starts[index] > position:
                    found.append((position, other._starts[index]))
                position = other._stops[index]
                index += 1
            if position < stop:
                found.append((position, stop))
        return found
