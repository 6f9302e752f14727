"""What the tests of fetching share: a place to fetch to, and files of the stand-in Hub."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep.hub.fetch import Fetcher, FetchReport, Patience, Wanted
from modelkeep.hub.progress import Progress
from modelkeep.store.digest import Digest, hash_bytes
from tests.hub import Hub, Repository

HASTY = Patience(
    connect=2, stall=1.0, attempts=4, first_delay=0.01, max_delay=0.1, max_retry_after=5
)


class Told(Progress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.arrived = 0
        self.waits: list[tuple[str, float]] = []
        self.names: list[str] = []
        self.notes: list[str] = []

    def advanced(self, count: int) -> None:
        self.arrived += count

    def waiting(self, reason: str, seconds: float) -> None:
        self.waits.append((reason, seconds))

    def file_done(self, name: str) -> None:
        self.names.append(name)

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Place:
    """A directory that files are fetched to, named by digest."""

    root: Path
    endpoint: str
    token: str | None = None
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        self.files.mkdir(parents=True, exist_ok=True)

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def partials(self) -> Path:
        return self.root / "partials"

    def path(self, digest: Digest) -> Path:
        return self.files / digest.file_name

    def have(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def deliver(self, wanted: Wanted, path: Path) -> None:
        path.rename(self.path(wanted.digest))

    def fetcher(
        self,
        *,
        patience: Patience = HASTY,
        max_streams: int = 16,
        limit_rate: int | None = None,
        flock: bool = True,
    ) -> Fetcher:
        return Fetcher(
            endpoint=self.endpoint,
            token=self.token,
            partials=self.partials,
            locks=self.root / "locks",
            flock=flock,
            max_streams=max_streams,
            limit_rate=limit_rate,
            user_agent="modelkeep/test",
            progress=self.told,
            patience=patience,
        )

    def fetch(
        self,
        wanted: Sequence[Wanted],
        *,
        patience: Patience = HASTY,
        max_streams: int = 16,
        limit_rate: int | None = None,
        flock: bool = True,
    ) -> FetchReport:
        fetcher = self.fetcher(
            patience=patience, max_streams=max_streams, limit_rate=limit_rate, flock=flock
        )
        return fetcher.fetch(wanted, have=self.have, deliver=self.deliver)

    def leftovers(self) -> list[Path]:
        return sorted(self.partials.iterdir()) if self.partials.exists() else []


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not repeat, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def publish(hub: Hub, files: dict[str, bytes], repo_id: str = "org/model") -> Repository:
    repo = hub.repo(repo_id)
    repo.commit(files)
    return repo


def wanted(hub: Hub, repo: Repository, name: str, data: bytes) -> Wanted:
    """The file as a tree listing of the stand-in would describe it."""
    is_lfs = name.endswith((".safetensors", ".bin"))
    return Wanted(
        url=f"{hub.endpoint}/{repo.prefix}{repo.id}/resolve/{repo.sha}/{name}",
        digest=hash_bytes(data, "sha256" if is_lfs else "git-sha1"),
        size=len(data),
        name=name,
    )


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def start_child(
    place: Place,
    files: Sequence[Wanted],
    *,
    flock: bool = True,
    streams: int = 16,
    sync: str = "",
) -> subprocess.Popen[str]:
    """Fetch in a process of its own; `sync` is where it stops (see `modelkeep.fs.syncpoint`)."""
    task = {
        "root": str(place.root),
        "endpoint": place.endpoint,
        "flock": flock,
        "streams": streams,
        "files": [
            {"url": f.url, "digest": str(f.digest), "size": f.size, "name": f.name} for f in files
        ],
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.fetch.child"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "_MODELKEEP_TEST_SYNC": sync},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    child.stdin.write(json.dumps(task))
    child.stdin.close()
    child.stdin = None
    return child
