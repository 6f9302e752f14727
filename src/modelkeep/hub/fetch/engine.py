"""One fetch: threads that receive, hash and sync, and the caller's thread that delivers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from modelkeep.errors import BusyError, CorruptError, UpstreamError
from modelkeep.fs import locks
from modelkeep.fs.space import readable
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.fetch.answers import RangesIgnoredError, TryAgainError
from modelkeep.hub.fetch.blocks import (
    LARGEST_BLOCK,
    SMALLEST_BLOCK,
    block_size,
    is_note_due,
    note_interval,
)
from modelkeep.hub.fetch.board import Board, Waiting
from modelkeep.hub.fetch.http import Body, Client
from modelkeep.hub.fetch.limit import RateLimit
from modelkeep.hub.fetch.partials import open_partial
from modelkeep.hub.fetch.pieces import MIB, SPLIT_FROM, Piece, Pieces
from modelkeep.hub.fetch.streams import Streams
from modelkeep.hub.fetch.transfer import Transfer
from modelkeep.hub.fetch.wanted import FetchReport, Patience, Wanted
from modelkeep.hub.progress import Progress
from modelkeep.store.digest import Digest, Hasher

_HASH_BLOCK = 1 * MIB
_TICK_S = 0.02
_SYNC_TICK_S = 0.1
_SYNC_AFTER_S = 1.0
_SYNC_AFTER_BYTES = 64 * MIB
_LOOK_AT_LOCKS_S = 0.25
_TELL_EVERY_S = 1.0
_STOP_S = 5.0
MAY_TRY_AGAIN = 1
"""How often a file that is not what was asked for is fetched again."""


class Engine:
    """Fetches one list of files. Use once."""

    def __init__(
        self,
        client: Client,
        *,
        partials: Path,
        locks: Path,
        flock: bool,
        streams: Streams,
        limit: RateLimit | None,
        patience: Patience,
        progress: Progress,
        have: Callable[[Digest], bool],
        deliver: Callable[[Wanted, Path], None],
    ) -> None:
        self._client = client
        self._partials = partials
        self._locks = locks
        self._flock = flock
        self._limit = limit
        self._patience = patience
        self._progress = progress
        self._have = have
        self._deliver = deliver
        self._board = Board(streams, patience)
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._workers = 0
        self._useful_workers = 0
        self._transfers: list[Transfer] = []
        self._with_others: list[Transfer] = []
        self._open = 0
        self._files = self._by_others = self._resumed = 0
        self._told = 0
        self._looked_at_locks = self._told_waiting = 0.0

    def run(self, wanted: Sequence[Wanted]) -> FetchReport:
        """Fetch all of it."""
        began = time.monotonic()
        # The largest first: small files then fill the gaps at the end.
        self._transfers = [Transfer(w) for w in sorted(wanted, key=lambda w: -w.size)]
        self._open = len(self._transfers)
        self._useful_workers = sum(max(1, w.size // (4 * MIB)) for w in wanted)
        self._progress.started(len(wanted), sum(w.size for w in wanted))
        self._board.add(self._transfers)
        try:
            if self._open:
                self._spawn(self._sync_loop, "modelkeep-sync")
            while self._open:
                self._tick()
                try:
                    event = self._events.get(timeout=_TICK_S)
                except queue.Empty:
                    continue
                event()
            self._tick()
        finally:
            self._shut_down()
        return FetchReport(
            bytes_fetched=self._board.received,
            bytes_resumed=self._resumed,
            files=self._files,
            by_others=self._by_others,
            retries=self._board.retries,
            streams=self._board.peak,
            seconds=time.monotonic() - began,
        )

    # The caller's thread

    def _tick(self) -> None:
        target = min(self._board.adapt(), self._useful_workers)
        while self._workers < target and self._open:
            self._workers += 1
            self._spawn(self._work, f"modelkeep-fetch-{self._workers}")
        if (arrived := self._board.arrived) != self._told:
            self._progress.advanced(arrived - self._told)
            self._told = arrived
        now = time.monotonic()
        if self._with_others and now - self._looked_at_locks >= _LOOK_AT_LOCKS_S:
            self._looked_at_locks = now
            self._look_at_locks()
        if now - self._told_waiting >= _TELL_EVERY_S and (waiting := self._waiting()):
            self._told_waiting = now
            self._progress.waiting(waiting.reason, waiting.seconds)

    def _waiting(self) -> Waiting | None:
        if self._open and self._open == len(self._with_others):
            name = self._with_others[0].wanted.name
            return Waiting(f"another process is fetching `{name}`", _LOOK_AT_LOCKS_S)
        return self._board.waiting()

    def _look_at_locks(self) -> None:
        for transfer in list(self._with_others):
            if not self._take_lock(transfer):
                continue
            self._with_others.remove(transfer)
            if self._have(transfer.wanted.digest):
                self._came_by_others(transfer)
            else:
                self._board.add([transfer])

    def _came_by_others(self, transfer: Transfer) -> None:
        _unlock(transfer)
        self._open -= 1
        self._by_others += 1
        self._progress.advanced(transfer.wanted.size)
        self._progress.file_done(transfer.wanted.name)

    def _hashed(self, transfer: Transfer, found: Digest) -> None:
        wanted, partial = transfer.wanted, transfer.partial
        assert partial is not None
        self._board.drop(transfer)
        if found != wanted.digest:
            self._arrived_wrong(transfer, found)
            return
        reach("fetch:verified")
        partial.close()
        self._deliver(wanted, partial.content)
        reach("fetch:delivered")
        partial.discard()
        transfer.partial = None
        _unlock(transfer)
        reach("fetch:done")
        self._open -= 1
        self._files += 1
        self._progress.file_done(wanted.name)

    def _arrived_wrong(self, transfer: Transfer, found: Digest) -> None:
        wanted, partial = transfer.wanted, transfer.partial
        assert partial is not None
        transfer.partial = None
        partial.discard()
        reach("fetch:discarded")
        transfer.refusals += 1
        if transfer.refusals > MAY_TRY_AGAIN:
            raise CorruptError(
                f"`{wanted.name}` arrived damaged, twice",
                expected=str(wanted.digest),
                got=str(found),
                hint="nothing of it was kept; try another endpoint, or later",
            )
        self._progress.note(f"`{wanted.name}` arrived damaged, fetching it again")
        transfer.source.forget()
        self._board.restart(transfer)
        self._board.add([transfer])

    def _raise(self, error: BaseException) -> None:
        raise error

    def _shut_down(self) -> None:
        self._stop.set()
        self._board.close()
        self._client.abort()
        for transfer in self._transfers:
            transfer.wake.set()
        deadline = time.monotonic() + _STOP_S
        for thread in self._threads:
            # A thread that is still connecting to a host that does not answer ends by itself.
            thread.join(max(0.0, deadline - time.monotonic()))
        for transfer in self._transfers:
            if transfer.partial is not None:
                transfer.partial.close()
            _unlock(transfer)
        self._client.close()

    # Threads

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        def guarded() -> None:
            try:
                target()
            except BaseException as error:  # whatever it is, the caller's thread raises it
                self._report(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _report(self, error: BaseException) -> None:
        self._events.put(lambda: self._raise(error))

    def _work(self) -> None:
        buffer = memoryview(bytearray(LARGEST_BLOCK))
        while (job := self._board.next()) is not None:
            try:
                if job.piece is None:
                    self._begin(job.transfer)
                else:
                    self._receive(job.transfer, job.piece, buffer)
            finally:
                self._board.finished(job)
            if self._board.claim_hashing(job.transfer):
                self._hash(job.transfer)

    def _begin(self, transfer: Transfer) -> None:
        wanted = transfer.wanted
        if transfer.lock is None:
            if not self._take_lock(transfer):
                self._events.put(lambda: self._with_others.append(transfer))
                return
            if self._have(wanted.digest):
                self._events.put(lambda: self._came_by_others(transfer))
                return
        partial = open_partial(
            self._partials, wanted.digest, wanted.size, locked=transfer.lock_is_real
        )
        transfer.partial = partial
        kept = partial.done.total
        if kept:
            self._events.put(lambda: self._found(kept))
        alongside = transfer.hashing = wanted.size >= SPLIT_FROM
        self._board.begun(transfer, Pieces(wanted.size, partial.done))
        if alongside:
            self._spawn(lambda: self._hash(transfer), "modelkeep-hash")

    def _found(self, kept: int) -> None:
        self._resumed += kept

    def _take_lock(self, transfer: Transfer) -> bool:
        if not self._flock:
            transfer.lock_is_real = False
            return True
        path = self._locks / f"fetch-{transfer.wanted.digest.file_name}.lock"
        lock = locks.hold(path, timeout=0)
        try:
            transfer.lock_is_real = lock.__enter__()
        except BusyError:
            return False
        transfer.lock = lock
        return True

    def _receive(self, transfer: Transfer, piece: Piece, buffer: memoryview) -> None:
        first = piece.position
        try:
            with closing(self._client.open(transfer.source, piece.position, piece.stop)) as body:
                extended = body.whole and piece.stop != transfer.wanted.size
                if extended and not self._board.whole(transfer, piece):
                    return
                self._copy(transfer, piece, body, buffer)
        except TryAgainError as error:
            self._failed(transfer, error, silent=piece.position == first)
        except RangesIgnoredError:
            if not self._board.no_ranges(transfer):
                reason = "the server sends other bytes than it is asked for"
                self._failed(transfer, TryAgainError(reason), silent=True)
        except CorruptError:
            transfer.refusals += 1
            if transfer.refusals > MAY_TRY_AGAIN:
                raise
            transfer.source.forget()
        finally:
            assert transfer.partial is not None
            transfer.partial.note(piece.noted, piece.position)
            piece.noted = piece.position

    def _failed(self, transfer: Transfer, error: TryAgainError, *, silent: bool) -> None:
        if self._stop.is_set() or self._board.failed(transfer, error, silent=silent):
            return
        kept = readable(sum(t.done.total for t in self._transfers if t.partial))
        raise UpstreamError(
            f"`{transfer.wanted.name}`: {error.reason}, {transfer.failures} times in a row",
            hint=f"run the same command again: {kept} are kept",
        ) from error

    def _copy(self, transfer: Transfer, piece: Piece, body: Body, buffer: memoryview) -> None:
        partial, limit = transfer.partial, self._limit
        assert partial is not None
        block = limit.block() if limit else SMALLEST_BLOCK
        note_every = note_interval(transfer.wanted.size)
        noted_at = time.monotonic()
        while (left := piece.left) > 0 and not self._stop.is_set():
            count = body.read_into(buffer[: min(block, left)])
            if not count:
                raise TryAgainError("the server sent less than it announced")
            spans = self._board.claim(transfer, piece, count)
            if spans is None:
                return
            for start, stop in spans:
                partial.write(start, buffer[start - piece.position : stop - piece.position])
            if piece.claimed >= piece.stop:
                # Before the hasher can see that all is there: a crash then finds it recorded.
                partial.note(piece.noted, piece.claimed)
                piece.noted = piece.claimed
            self._board.advance(transfer, piece, piece.claimed - piece.position)
            now = time.monotonic()
            if is_note_due(piece.position - piece.noted, now - noted_at, note_every):
                partial.note(piece.noted, piece.position)
                piece.noted, noted_at = piece.position, now
                transfer.wake.set()
            if not limit:
                block = block_size(piece, now)
            if limit:
                limit.pay(count, self._stop)
        transfer.wake.set()

    def _hash(self, transfer: Transfer) -> None:
        """Follow the unbroken beginning of a file until all of it is hashed."""
        wanted, partial = transfer.wanted, transfer.partial
        assert partial is not None
        hasher = Hasher(wanted.digest.algorithm, wanted.size)
        buffer = memoryview(bytearray(min(_HASH_BLOCK, max(wanted.size, 1))))
        position = 0
        while position < wanted.size:
            transfer.wake.clear()
            ready = self._board.prefix(transfer)
            if ready - position < len(buffer) and ready < wanted.size:
                transfer.wake.wait(0.1)
                if self._stop.is_set():
                    return
                continue
            while position < ready:
                if self._stop.is_set():
                    return
                count = partial.read_into(buffer[: ready - position], position)
                if count == 0:
                    raise UpstreamError(f"`{wanted.name}`: the partial download was cut meanwhile")
                hasher.update(buffer[:count])
                position += count
                transfer.hashed = position
        found = hasher.digest()
        self._events.put(lambda: self._hashed(transfer, found))

    def _sync_loop(self) -> None:
        last: dict[int, float] = {}
        while not self._stop.wait(_SYNC_TICK_S):
            now = time.monotonic()
            for transfer in self._board.active():
                partial = transfer.partial
                if partial is None:
                    continue
                done = self._board.snapshot(transfer)
                since = now - last.setdefault(id(transfer), now)
                pending = partial.unsynced(done)
                if pending >= _SYNC_AFTER_BYTES or (pending and since >= _SYNC_AFTER_S):
                    partial.sync(done)
                    last[id(transfer)] = time.monotonic()


def _unlock(transfer: Transfer) -> None:
    lock, transfer.lock = transfer.lock, None
    if lock is not None:
        lock.__exit__(None, None, None)
