"""Getting what is there already: a second project, and a second repo with the same weights.

    python -m benchmarks.second_get [--mib 512] [--rounds 3]

Whole processes are timed, from start to exit. The Hub is the stand-in of tests/, on loopback and
without Xet, which is the best a network can do; a real one only adds to the client's time. Every
contestant starts with the first get done.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.hub import Hub
from tests.models import random_file

from benchmarks.report import Contestant, Table, command, print_machine, timed
from modelkeep.keep import Keep
from modelkeep.runtime.demo.disk import Growth

MIB = 1 << 20
BIN = Path(sys.executable).parent
ONE, TWO = "bench/one", "bench/two"


class Contest:
    """A keep and a stock cache that both have the first repo, and what a second get costs each."""

    def __init__(self, hub: Hub, base: Path) -> None:
        self._hub = hub
        self._cache, self._other = base / "cache", base / "other"
        self._environ = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(base / "home"),
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "MODELKEEP_HOME": str(base / "keep"),
        }
        self.costs: dict[str, tuple[int, int]] = {}
        self._modelkeep("pull", ONE)
        self._download(ONE, self._cache)
        self._keep = Keep.open(base / "keep")

    def second_cache(self) -> dict[str, Contestant]:
        """Return who can give the first repo to a second cache."""
        into = ("link", ONE, "--into", str(self._other))
        return {
            "modelkeep link": self._contestant(
                "modelkeep link", lambda: self._modelkeep(*into), self._forget_other
            ),
            "hf download": self._contestant(
                "hf download", lambda: self._download(ONE, self._other), self._forget_other
            ),
        }

    def second_repo(self) -> dict[str, Contestant]:
        """Return who can get the second repo into the first cache."""
        return {
            "modelkeep pull": self._contestant(
                "modelkeep pull", lambda: self._modelkeep("pull", TWO), self._forget_two
            ),
            "hf download, same cache": self._contestant(
                "hf download, same cache",
                lambda: self._download(TWO, self._cache),
                self._forget_two,
            ),
        }

    def _contestant(
        self, name: str, work: Callable[[], None], prepare: Callable[[], None]
    ) -> Contestant:
        seconds = timed(work)

        def run() -> float:
            prepare()
            os.sync()
            sent = self._hub.bytes_sent()
            growth = Growth(self._keep.directory, self._cache, self._other)
            took = seconds()
            self.costs[name] = (self._hub.bytes_sent() - sent, growth.bytes())
            return took

        return run

    def _modelkeep(self, *arguments: str) -> None:
        command([BIN / "modelkeep", *arguments], self._environ)

    def _download(self, repo: str, cache: Path) -> None:
        command([BIN / "hf", "download", repo], self._environ | {"HF_HUB_CACHE": str(cache)})

    def _forget_other(self) -> None:
        shutil.rmtree(self._other, ignore_errors=True)

    def _forget_two(self) -> None:
        shutil.rmtree(self._cache / "models--bench--two", ignore_errors=True)
        if any(str(repo) == TWO for repo in self._keep.hub.repos()):
            self._keep.remove(self._keep.plan_removal(TWO))


def main() -> None:
    """Measure both, in alternating rounds, and print seconds, ratios and bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-second-") as base, Hub() as hub:
        weights = random_file(Path(base, "weights"), chosen.mib * MIB)
        for name in (ONE, TWO):
            card = f"# {name}\n".encode()
            hub.repo(name).commit({"model.safetensors": weights, "README.md": card})
        contest = Contest(hub, Path(base))
        print_machine()
        for title, contestants in (
            (f"{chosen.mib} MiB into a second cache", contest.second_cache()),
            (f"a second repo with the same {chosen.mib} MiB", contest.second_repo()),
        ):
            table = Table(title, "s", next(iter(contestants)))
            table.measure(chosen.rounds, contestants)
            table.print()
            for name in contestants:
                fetched, on_disk = contest.costs[name]
                print(f"  {name}: {fetched:,} bytes fetched, {on_disk:,} more on disk")


if __name__ == "__main__":
    main()
