"""What a pull or an add tells of itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelkeep.hub.materialise import Placement
from modelkeep.hub.removal.remove import RemovedItem
from modelkeep.hub.repo import Repo
from modelkeep.hub.tree import TreeFile


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull or an add did. Sizes are bytes of files, times seconds.

    `bytes_fetched` is what had to be fetched, `bytes_stored` what is new in the store,
    `bytes_linked` what was there already, `bytes_resumed` what of `bytes_fetched` an earlier run
    had left. `modes` counts how the files were put into the hub, `files_placed` those of them for
    which that was done just now. `evicted` are the revisions that went to make room.
    """

    repo: str
    type: str
    commit: str
    snapshot: Path
    files: int
    bytes_total: int
    bytes_fetched: int
    bytes_stored: int
    bytes_linked: int
    modes: dict[str, int]
    seconds: float
    bytes_resumed: int
    files_placed: int
    evicted: tuple[RemovedItem, ...] = ()

    @classmethod
    def of(
        cls,
        repo: Repo,
        commit: str,
        snapshot: Path,
        files: Sequence[TreeFile],
        placement: Placement,
        *,
        started: float,
        stored: int,
        fetched: int = 0,
        resumed: int = 0,
    ) -> Pulled:
        """Sum up what came; `started` is the moment, of the monotonic clock, when it began."""
        return cls(
            repo=repo.id,
            type=repo.type.value,
            commit=commit,
            snapshot=snapshot,
            files=len(files),
            bytes_total=sum(file.size for file in files),
            bytes_fetched=fetched,
            bytes_stored=stored,
            bytes_linked=sum({file.digest: file.size for file in files}.values()) - stored,
            modes={mode.value: count for mode, count in sorted(placement.modes.items())},
            seconds=time.monotonic() - started,
            bytes_resumed=min(resumed, fetched),
            files_placed=placement.placed,
        )
