"""A keep, the Hub it was filled from, and stock clients that know of nothing but a cache folder."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients import CLIENTS
from tests.hub import Hub

import modelkeep

NEWEST = next(iter(CLIENTS))
OLDER = tuple(version for version in CLIENTS if version != NEWEST)
NO_NETWORK = ("unshare", "--net")
"""Runs a command in a network namespace where even loopback is down."""


@dataclass(frozen=True)
class Site:
    """A keep that fetches from a Hub of its own."""

    hub: Hub
    keep: modelkeep.Keep

    @property
    def cache(self) -> Path:
        """The folder that stock clients are sent to."""
        return self.keep.directory / "hub"

    def env(self, cache: Path | None = None, *, offline: bool = False) -> dict[str, str]:
        """What sends a stock client to a cache, the keep's by default; no more than that."""
        return {
            "HF_HUB_CACHE": str(cache or self.cache),
            "HF_HUB_DISABLE_SHARED_BLOBS": "1",
            "HF_ENDPOINT": self.hub.endpoint,
            **({"HF_HUB_OFFLINE": "1"} if offline else {}),
        }

    def fetched(self) -> list[str]:
        """The paths of all files whose bytes somebody asked for since the log was cleared."""
        return [
            request.path
            for request in self.hub.matching(method="GET")
            if not request.path.startswith("/api/")
        ]

    def unsettled(self, repo: str) -> int:
        """Bytes of a repo that a stock client brought and nobody has hashed yet."""
        return self.keep.show(repo).repos[0].bytes_unsettled


@contextmanager
def new_site(directory: Path) -> Iterator[Site]:
    """The keep in `directory`, made where there is none, and an empty Hub that it fetches from."""
    with Hub() as hub:
        modelkeep.open(directory)
        with (directory / "keep.toml").open("a") as settings:
            settings.write(f'upstream = "{hub.endpoint}"\n')
        yield Site(hub, modelkeep.open(directory))


def pictured(directory: Path) -> dict[str, str]:
    """Every path below a folder with what it is: a link's target, or a file's mode and digest."""
    picture = {}
    for base, folders, names in os.walk(directory):
        for name in [*folders, *names]:
            path = Path(base, name)
            shown = path.relative_to(directory).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                picture[shown] = f"-> {path.readlink()}"
            elif stat.S_ISDIR(mode):
                picture[shown] = f"{stat.S_IMODE(mode):o}"
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                picture[shown] = f"{stat.S_IMODE(mode):o} {digest}"
    return picture
