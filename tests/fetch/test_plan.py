"""The pure parts: intervals, pieces, the number of connections, the rate, the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.fs import identity
from modelkeep.hub.fetch.answers import lifetime, place, retry_after
from modelkeep.hub.fetch.connections import proxy_for
from modelkeep.hub.fetch.limit import RateLimit
from modelkeep.hub.fetch.partials import read_record
from modelkeep.hub.fetch.pieces import MIB, Pace, Pieces, piece_length
from modelkeep.hub.fetch.spans import Spans
from modelkeep.hub.fetch.streams import Streams
from modelkeep.store.digest import Digest

spans = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda s: (min(s), max(s))), max_size=12
)


def _bytes(intervals: list[tuple[int, int]]) -> set[int]:
    return {n for start, stop in intervals for n in range(start, stop)}


@given(spans)
def test_spans_are_the_set_of_their_bytes(intervals: list[tuple[int, int]]) -> None:
    found, known = Spans(), set[int]()
    for start, stop in intervals:
        new = set(range(start, stop)) - known
        assert found.add(start, stop) == len(new)
        known |= new
    assert _bytes(list(found)) == known
    assert found.total == len(known)
    assert _bytes(found.gaps(64)) == set(range(64)) - known
    assert found.prefix() == next(n for n in range(100) if n not in known)
    flat = [edge for span in found for edge in span]
    assert flat == sorted(set(flat))  # disjoint, and none touches the next


@given(spans, spans)
def test_the_difference_of_spans_is_that_of_their_bytes(
    some: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    assert _bytes(Spans(some).minus(Spans(others))) == _bytes(some) - _bytes(others)


def test_a_small_file_is_one_piece() -> None:
    pieces = Pieces(5 * MIB, Spans())
    piece = pieces.take(0.0, streams=16)
    assert piece is not None
    assert (piece.start, piece.stop) == (0, 5 * MIB)
    assert pieces.take(0.0, streams=16) is None
    assert pieces.steal(9.0) is None


def test_pieces_come_lowest_first_and_cover_what_is_missing() -> None:
    pieces = Pieces(100 * MIB, Spans([(10 * MIB, 30 * MIB)]))
    taken = []
    while (piece := pieces.take(0.0, streams=4)) is not None:
        taken.append((piece.start, piece.stop))
    assert taken == sorted(taken)
    assert list(Spans(taken)) == [(0, 10 * MIB), (30 * MIB, 100 * MIB)]
    assert sum(stop - start for start, stop in taken) == 80 * MIB


@given(st.integers(1, 1 << 40), st.integers(1, 64), st.floats(0, 1e9), st.floats(0, 5))
def test_a_piece_is_some_whole_mebibytes(
    left: int, streams: int, rate: float, latency: float
) -> None:
    length = piece_length(left, streams, Pace(rate, latency))
    assert 4 * MIB <= length <= 64 * MIB
    assert length % MIB == 0


def test_a_round_trip_is_a_small_part_of_a_piece() -> None:
    assert piece_length(1 << 40, 16, Pace(100e6, 0.030)) == 58 * MIB
    assert piece_length(1 << 40, 16, Pace(6e6, 0.001)) == 8 * MIB
    assert piece_length(20 * MIB, 16, Pace(6e6, 0.001)) == 4 * MIB


def test_half_of_the_longest_piece_is_taken_over_at_the_end() -> None:
    pieces = Pieces(32 * MIB, Spans())
    slow = pieces.take(0.0, pace=Pace(1e9, 1))
    while pieces.take(0.0, pace=Pace(1e9, 1)) is not None:
        pass
    assert slow is not None
    for piece in pieces.in_hand[1:]:
        pieces.advance(piece, piece.left, 1.0)
    pieces.advance(slow, 2 * MIB, 1.0)
    left = slow.left
    stolen = pieces.steal(1.0)
    assert stolen is not None
    assert stolen.start == slow.stop
    assert slow.left + stolen.left == left


def test_a_piece_that_is_nearly_done_is_left_alone() -> None:
    pieces = Pieces(32 * MIB, Spans())
    while (piece := pieces.take(0.0, pace=Pace(1e9, 1))) is not None:
        pieces.advance(piece, piece.left - MIB, 1.0)
    assert pieces.steal(1.0) is None


def test_all_of_a_piece_that_stands_still_is_taken_over() -> None:
    pieces = Pieces(32 * MIB, Spans())
    piece = pieces.take(0.0, pace=Pace(1e9, 1))
    while (other := pieces.take(0.0, pace=Pace(1e9, 1))) is not None:
        pieces.advance(other, other.left, 1.0)
    assert piece is not None
    pieces.advance(piece, MIB, 1.0)
    stolen = pieces.steal(10.0)
    assert stolen is not None
    assert (piece.left, stolen.start) == (0, piece.position)


def test_no_byte_that_is_here_is_written_again() -> None:
    pieces = Pieces(32 * MIB, Spans([(10, 20), (30, 40)]))
    pieces.forget_ranges()
    piece = pieces.take(0.0)
    assert piece is not None
    assert pieces.claim(piece, 35) == [(0, 10), (20, 30)]
    pieces.advance(piece, 35, 0.0)
    assert pieces.claim(piece, 10) == [(40, 45)]


def test_what_is_being_written_is_not_taken_over() -> None:
    pieces = Pieces(32 * MIB, Spans())
    piece = pieces.take(0.0, pace=Pace(1e9, 1))
    while (other := pieces.take(0.0, pace=Pace(1e9, 1))) is not None:
        pieces.advance(other, other.left, 1.0)
    assert piece is not None
    assert pieces.claim(piece, piece.left) == [(piece.start, piece.stop)]
    assert pieces.steal(10.0) is None
    pieces.advance(piece, 2 * MIB, 10.0)
    pieces.put_back(piece)
    again = pieces.take(10.0)
    assert again is not None
    assert again.start == 2 * MIB
    assert pieces.claim(piece, 5) is None


def test_what_a_connection_did_not_bring_is_handed_out_again() -> None:
    pieces = Pieces(5 * MIB, Spans())
    piece = pieces.take(0.0)
    assert piece is not None
    pieces.advance(piece, MIB, 0.0)
    pieces.put_back(piece)
    again = pieces.take(0.0)
    assert again is not None
    assert (again.start, again.stop) == (MIB, 5 * MIB)


class Link:
    """Gives so many bytes per second for so many connections."""

    def __init__(self, streams: Streams, rate: Callable[[int], float]) -> None:
        self.streams, self.rate = streams, rate
        self.now = self.received = 0.0
        self.seen: set[int] = set()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.received += self.rate(self.streams.target) * 0.02
            self.now += 0.02
            self.streams.observe(self.now, int(self.received), self.streams.target)
            self.seen.add(self.streams.target)


def test_connections_are_added_while_each_brings_its_share() -> None:
    streams = Streams(32, first=4)
    Link(streams, lambda count: count * 6e6).run(1.0)
    assert streams.target == 32


def test_connections_that_bring_nothing_are_taken_back() -> None:
    streams = Streams(32, first=4)
    link = Link(streams, lambda count: 800e6)
    link.run(0.6)
    assert streams.target == 4
    link.run(20.0)
    assert link.seen == {4, 8}


def test_a_slow_link_is_judged_all_the_same() -> None:
    streams = Streams(32, first=4)
    link = Link(streams, lambda count: 100e3)
    link.run(30.0)
    assert link.seen == {4, 8}


def test_complaints_halve_the_connections_once_a_second() -> None:
    streams = Streams(32, first=4)
    link = Link(streams, lambda count: count * 6e6)
    link.run(1.0)
    for _ in range(10):
        streams.complained(link.now)
    assert streams.target == 16
    link.run(5.0)
    assert streams.target == 16
    link.run(10.0)
    assert streams.target == 32


def test_the_rate_is_kept_whatever_the_blocks() -> None:
    limit = RateLimit(1_000_000)
    now = limit._paid_until
    for size in (1, 50_000, 2_000_000, 333):
        for _ in range(3_000_000 // size // 10):
            now += limit.reserve(size, now)
    began = now
    for _ in range(100):
        now += limit.reserve(100_000, now)
    assert now - began == pytest.approx(10.0, rel=0.02)


def test_a_record_is_read_as_far_as_it_goes() -> None:
    me = identity.current()
    digest = Digest("sha256", "ab" * 32)
    head = json.dumps({"v": 1, "digest": str(digest), "size": 100, "owner": asdict(me)})
    text = f"{head}\nw 0 10\nd 20 30\nnonsense\nw 30 40\nw 50 6"
    here = read_record(text, digest, 100, me.boot)
    assert here is not None
    assert list(here.written) == [(0, 10), (20, 40)]
    assert list(here.durable) == [(20, 30)]
    elsewhere = read_record(text, digest, 100, "another boot")
    assert elsewhere is not None
    assert list(elsewhere.written) == [(20, 30)]
    assert read_record(text, digest, 101, me.boot) is None
    assert read_record(text, Digest("sha256", "cd" * 32), 100, me.boot) is None
    assert read_record("", digest, 100, me.boot) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Sat, 21 Nov 2026 06:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sat, 21 Nov 2026 05:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"RateLimit": '"resolvers";r=0;t=45'}, 45.0),
        ({}, None),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, 1_795_240_800.0) == seconds


def test_how_long_a_signed_url_is_good() -> None:
    assert lifetime("https://cdn/x?X-Amz-Expires=3600&X-Amz-Signature=1", 0.0) == 3570.0
    assert lifetime("https://cdn/x?Expires=10000&Signature=1", 6400.0) == 3570.0
    assert lifetime("https://cdn/x?Expires=10000", 20_000.0) is None
    assert lifetime("https://cdn/x", 0.0) is None


def test_a_url_is_shown_without_its_query_and_credentials() -> None:
    assert (
        place("https://me:secret@cdn.example:444/a/b?Signature=x") == "https://cdn.example:444/a/b"
    )


def test_proxies_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert proxy_for("https://huggingface.co/x") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,.internal")
    assert proxy_for("https://huggingface.co/x") == "http://proxy:3128"
    assert proxy_for("https://hub.internal/x") is None
    assert proxy_for("http://huggingface.co/x") is None
