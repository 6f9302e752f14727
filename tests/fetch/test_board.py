"""How many connections are of use where this machine is the limit, not the link."""

from __future__ import annotations

from modelkeep.hub.fetch.board import Board, Job
from modelkeep.hub.fetch.pieces import MIB, Pieces
from modelkeep.hub.fetch.processors import Processors
from modelkeep.hub.fetch.spans import Spans
from modelkeep.hub.fetch.streams import Streams
from modelkeep.hub.fetch.transfer import Transfer
from modelkeep.hub.fetch.wanted import Patience, Wanted
from modelkeep.store.digest import Digest

STREAMS = 4


class Begun:
    """A large file of which each connection has been given a piece."""

    def __init__(self) -> None:
        self.board = Board(Streams(24, first=STREAMS), Patience())
        digest = Digest("sha256", "ab" * 32)
        self.transfer = Transfer(Wanted("http://hub/x", digest, 1024 * MIB, "x"))
        self.transfer.hashing = True
        self.board.begun(self.transfer, Pieces(self.transfer.wanted.size, Spans()))
        self.jobs = [self.next() for _ in range(STREAMS)]

    def next(self) -> Job:
        job = self.board.next()
        assert job is not None
        return job

    def arrives(self, job: Job) -> None:
        """All of a piece is written."""
        assert job.piece is not None
        self.board.advance(self.transfer, job.piece, job.piece.left)
        self.board.finished(job)


def test_one_connection_is_enough_while_hashing_is_behind() -> None:
    begun = Begun()
    for job in begun.jobs:
        begun.arrives(job)
    assert begun.transfer.unhashed >= 4 * 8 * MIB
    assert begun.board.connections() == 1
    assert begun.next().piece is not None
    begun.transfer.hashed = begun.transfer.done.total
    assert begun.board.connections() == STREAMS


def test_bytes_that_wait_for_an_earlier_piece_do_not_count() -> None:
    begun = Begun()
    for job in begun.jobs[1:]:
        begun.arrives(job)
    assert begun.transfer.unhashed == 0
    assert begun.board.connections() == STREAMS


def test_as_many_bytes_as_are_in_hand_may_wait() -> None:
    begun = Begun()
    begun.arrives(begun.jobs[1])
    begun.arrives(begun.jobs[0])
    assert begun.transfer.unhashed >= 2 * 8 * MIB
    assert begun.board.connections() == STREAMS


def test_what_an_earlier_run_left_is_hashed_beside_the_transfer() -> None:
    begun = Begun()
    begun.transfer.kept = 1
    for job in begun.jobs:
        begun.arrives(job)
    assert begun.board.connections() == STREAMS


def test_connections_are_not_added_where_the_machine_is_the_limit() -> None:
    streams = Streams(24, first=STREAMS)
    for tick in range(100):
        streams.observe(tick * 0.02, tick * tick * MIB, STREAMS, behind=True)
    assert streams.target == STREAMS


def test_a_process_is_busy_when_it_takes_most_of_the_processors() -> None:
    processors = Processors(0.0, 0.0, count=2)
    assert not processors.busy(0.1, 0.1)
    assert processors.busy(0.2, 0.25)
    assert not processors.busy(0.3, 0.3)


def test_a_moment_says_nothing_of_the_processors() -> None:
    processors = Processors(0.0, 0.0, count=2)
    assert processors.busy(0.1, 0.2)
    assert processors.busy(0.11, 0.2)
    assert not processors.busy(0.2, 0.2)
