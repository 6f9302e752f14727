"""The way in: fetch files by content, whatever the network does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from modelkeep.fs import durable
from modelkeep.hub.fetch.engine import Engine
from modelkeep.hub.fetch.http import Client
from modelkeep.hub.fetch.limit import RateLimit
from modelkeep.hub.fetch.pieces import SPLIT_FROM
from modelkeep.hub.fetch.streams import Streams
from modelkeep.hub.fetch.wanted import FetchReport, Patience, Wanted
from modelkeep.hub.progress import Progress
from modelkeep.store.digest import Digest

_FIRST = 4
_FIRST_FOR_SMALL_FILES = 16
"""Each waits for an answer most of the time, and what they bring says nothing of the link."""


class Fetcher:
    """Fetches files from a Hub, a mirror or a gateway.

    `partials` holds what has arrived of unfinished files and `locks` the locks by which processes
    share the work; both lie on the file system the files go to. `flock=False` says that locks do
    not exclude there: then each process fetches for itself. `limit_rate` is in bytes per second,
    over all connections. One `fetch` at a time.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        token: str | None,
        partials: Path,
        locks: Path,
        flock: bool = True,
        max_streams: int = 24,
        limit_rate: int | None = None,
        user_agent: str,
        progress: Progress | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._token = token
        self._partials = partials
        self._locks = locks
        self._flock = flock
        self._max_streams = max_streams
        self._limit = RateLimit(limit_rate) if limit_rate else None
        self._user_agent = user_agent
        self._progress = progress or Progress()
        self._patience = patience or Patience.from_environment()

    def fetch(
        self,
        wanted: Sequence[Wanted],
        *,
        have: Callable[[Digest], bool],
        deliver: Callable[[Wanted, Path], None],
    ) -> FetchReport:
        """Fetch what is not there yet; files of the same content once.

        `deliver` is called in this thread, one file at a time, with a private regular file whose
        bytes have the digest that was wanted; it moves or publishes the file, or fetch removes it.
        `have` may be called from several threads at once.

        Raises the first error, after everything else has stopped: NotFoundError, GatedError and
        AccessError as the endpoint refuses, CorruptError for content that is not what was wanted
        (after a second try), UpstreamError when the network gives nothing for too long,
        NoSpaceError. What has arrived stays for the next run, also after KeyboardInterrupt, a kill
        or a reboot.
        """
        missing: dict[Digest, Wanted] = {}
        for file in wanted:
            if file.digest not in missing and not have(file.digest):
                missing[file.digest] = file
        durable.make_dirs(self._partials)
        durable.make_dirs(self._locks)
        client = Client(
            self._endpoint, self._token, self._user_agent, self._patience, self._max_streams
        )
        small = all(file.size < SPLIT_FROM for file in missing.values())
        first = _FIRST_FOR_SMALL_FILES if small else _FIRST
        engine = Engine(
            client,
            partials=self._partials,
            locks=self._locks,
            flock=self._flock,
            streams=Streams(self._max_streams, first=first),
            limit=self._limit,
            patience=self._patience,
            progress=self._progress,
            have=have,
            deliver=deliver,
        )
        return engine.run(list(missing.values()))
