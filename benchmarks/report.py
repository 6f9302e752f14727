"""What all benchmarks share: alternating rounds, medians, and a table with ratios.

    table = Table("second get, 1 GiB", unit="s", ours="modelkeep link")
    table.measure(rounds=5, contestants={"modelkeep link": ours, "hf download": theirs})
    table.print()

Every round runs each contestant once, in turn, so that whatever else the machine does falls on all
of them alike. A contestant is a function that returns what it measured; `timed` makes one of a
function whose time is wanted.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Contestant = Callable[[], float]


def timed(work: Callable[[], object], prepare: Callable[[], object] | None = None) -> Contestant:
    """Return a contestant that measures the seconds of `work`, and not those of `prepare`.

    It starts on a disk with nothing left to write: a contestant that does not sync must not leave
    its bytes to the next one's time.
    """

    def run() -> float:
        if prepare is not None:
            prepare()
        os.sync()
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return run


def command(argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
    """Run a command to its end; its output is shown only where it fails."""
    done = subprocess.run(
        [os.fspath(part) for part in argv],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}")


def machine() -> str:
    """Return one line about where this was measured, and how busy it was."""
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load {load:.1f}"
    )


@dataclass
class Table:
    """Medians of several contestants, and how many times ours is better than each.

    `better` is "less" where a smaller number wins (seconds) and "more" where a larger one does
    (bytes per second). `limit` names the contestant that is the physical limit, where there is one.
    """

    title: str
    unit: str
    ours: str
    better: str = "less"
    limit: str | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, rounds: int, contestants: Mapping[str, Contestant]) -> None:
        """Run all contestants alternately, each `rounds` times."""
        for _ in range(rounds):
            for name, contestant in contestants.items():
                self.samples.setdefault(name, []).append(contestant())

    def add(self, name: str, value: float) -> None:
        """Add a value that was not measured here: a computed limit, for instance."""
        self.samples.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        """Return the median of one contestant."""
        return statistics.median(self.samples[name])

    def ratio(self, name: str) -> float:
        """Return how many times ours is better than `name`; below 1 it is worse."""
        ours, theirs = self.median(self.ours), self.median(name)
        return theirs / ours if self.better == "less" else ours / theirs

    def print(self) -> None:
        """Print the table."""
        width = max(map(len, self.samples))
        print(f"\n{self.title}")
        print(f"  {'':{width}}  {'median ' + self.unit:>12}  {'min–max':>17}  ours is")
        for name, values in self.samples.items():
            spread = f"{min(values):.3g}–{max(values):.3g}" if len(values) > 1 else ""
            verdict = "" if name == self.ours else f"{self.ratio(name):.2f}×"
            if name == self.limit:
                verdict += "  (physical limit)"
            print(f"  {name:{width}}  {self.median(name):12.3f}  {spread:>17}  {verdict}")


def print_machine() -> None:
    """Print the line that belongs above every table."""
    print(machine())
