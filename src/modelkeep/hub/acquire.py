"""Sees that the store has the content of files: what it lacks is fetched.

Nothing here makes anything visible to loaders; the store's names are all it gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep._version import __version__
from modelkeep.errors import CorruptError
from modelkeep.fs.space import require_free
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.fetch import Fetcher, Wanted, kept_bytes
from modelkeep.hub.progress import Progress
from modelkeep.hub.removal.budget import Budget
from modelkeep.hub.request import Request
from modelkeep.hub.tree import TreeFile
from modelkeep.hub.upstream import Upstream
from modelkeep.hub.xet import fetch_by_client, prefers_xet
from modelkeep.store.digest import Digest
from modelkeep.store.meta import Source
from modelkeep.store.store import Store


@dataclass(slots=True)
class Tally:
    """Bytes of each content by how it came."""

    fetched: dict[Digest, int] = field(default_factory=dict)
    stored: dict[Digest, int] = field(default_factory=dict)
    resumed: int = 0
    """Bytes of what was fetched that an earlier run had left."""


class Acquirer:
    """Brings contents of one revision into the store. Use from one thread."""

    def __init__(
        self,
        store: Store,
        origin: Upstream,
        request: Request,
        commit: str,
        progress: Progress,
        budget: Budget | None = None,
    ) -> None:
        self.tally = Tally()
        self._store = store
        self._origin = origin
        self._request = request
        self._repo = request.repo
        self._commit = commit
        self._progress = progress
        self._budget = budget

    def acquire(self, files: Sequence[TreeFile]) -> None:
        """Return when the store has the content of all files.

        FileNotFoundError where a collector takes one away meanwhile: begin again.
        """
        by_digest = {file.digest: file for file in files}
        missing = [file for file in by_digest.values() if not self._is_here(file)]
        if not missing:
            return
        needed = sum(file.size for file in missing)
        kept = kept_bytes(self._store.layout.partials, {file.digest for file in missing})
        doing = f"pulling `{self._repo}`"
        if self._budget is not None:
            self._budget.make_room(needed - kept, doing=doing)
        require_free(self._store.layout.tmp, needed - kept, doing=doing)
        reach("pull:planned")
        in_ranges = [file for file in missing if not self._came_by_xet(file)]
        self._fetch(in_ranges)
        for file in missing:
            # What arrived through another process has that process's source; add ours.
            if file.digest not in self.tally.fetched:
                self._store.describe(file.digest, self._source(file))

    def _source(self, file: TreeFile) -> Source:
        return Source(str(self._repo), self._commit, file.path, self._origin.public)

    def _is_here(self, file: TreeFile) -> bool:
        """Tell whether the store has a content, and note where it is also to be had."""
        if self._store.has(file.digest):
            # What is damaged counts as not here: publishing the content again heals it.
            with suppress(CorruptError):
                self._store.describe(file.digest, self._source(file))
                return True
        return False

    def _deliver(self, file: TreeFile, path: Path) -> None:
        self.tally.fetched[file.digest] = file.size
        if self._store.publish(
            path, file.digest, source=self._source(file), xet_hash=file.xet_hash, verified=True
        ):
            self.tally.stored[file.digest] = file.size
        reach("pull:published")

    def _came_by_xet(self, file: TreeFile) -> bool:
        return prefers_xet(file, self._origin.endpoint, self._request.xet) and fetch_by_client(
            file,
            self._repo,
            self._commit,
            endpoint=self._origin.endpoint,
            token=self._origin.token,
            scratch=self._store.layout.tmp,
            locks_in=self._store.layout.locks,
            progress=self._progress,
            have=self._store.has_sound,
            deliver=self._deliver,
        )

    def _fetch(self, files: Sequence[TreeFile]) -> None:
        by_digest = {file.digest: file for file in files}
        fetcher = Fetcher(
            endpoint=self._origin.endpoint,
            token=self._origin.token,
            partials=self._store.layout.partials,
            locks=self._store.layout.locks,
            flock=self._store.capabilities.flock,
            limit_rate=self._request.limit_rate,
            user_agent=f"modelkeep/{__version__}",
            progress=self._progress,
        )
        report = fetcher.fetch(
            [
                Wanted(
                    self._origin.url(self._repo, self._commit, file.path),
                    file.digest,
                    file.size,
                    file.path,
                )
                for file in files
            ],
            have=self._store.has_sound,
            deliver=lambda wanted, path: self._deliver(by_digest[wanted.digest], path),
        )
        self.tally.resumed += report.bytes_resumed
