"""The bare command on a machine with two large caches, against a bare walk of the same trees.

    python -m benchmarks.survey [--repos 1000] [--files 30] [--rounds 3]

A third of the files of each repo stands in another one, too. Files are sparse, for nobody reads
them. The walk looks at each file once: nothing that finds duplicates by name can do less.
`hf cache ls`, which lists one cache at a time and finds no duplicates, reads the same trees.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from hashlib import sha1, sha256
from pathlib import Path

from benchmarks.gc_plan import walk
from benchmarks.ls import SCRIPTS
from benchmarks.report import Table, command, print_machine, timed

SIZE = 10**9


def plant(cache: Path, repos: range, files: int) -> None:
    """Write repos as stock clients do."""
    for repo in repos:
        top = cache / f"models--org--model{repo}"
        commit = sha1(str(repo).encode()).hexdigest()
        for folder in ("blobs", "refs", f"snapshots/{commit}"):
            (top / folder).mkdir(parents=True)
        (top / "refs/main").write_text(commit)
        for number in range(files):
            owner = repo // 2 if number < files // 3 else repo
            name = sha256(f"{owner} {number}".encode()).hexdigest()
            with (top / "blobs" / name).open("wb") as blob:
                blob.truncate(SIZE)
            (top / f"snapshots/{commit}/{number}").symlink_to(f"../../blobs/{name}")


def main() -> None:
    """Plant the caches, look at them in alternating rounds, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repos", type=int, default=1000, help="in each of the two caches")
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-survey-") as base:
        caches = [Path(base, "home/hub"), Path(base, "other/hub")]
        for number, cache in enumerate(caches):
            first = number * chosen.repos
            plant(cache, range(first, first + chosen.repos), chosen.files)
        environment = {
            "MODELKEEP_HOME": f"{base}/keep",
            "HF_HOME": os.fspath(caches[0].parent),
            "HF_HUB_CACHE": os.fspath(caches[1]),
            "HF_HUB_OFFLINE": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # installed programs have their bytecode beside them
            "PYTHONPYCACHEPREFIX": f"{base}/bytecode",
        }
        ours: list[str | Path] = [SCRIPTS / "modelkeep"]

        def theirs() -> None:
            for cache in caches:
                command([SCRIPTS / "hf", "cache", "ls", "--cache-dir", cache], environment)

        command(ours, environment)
        theirs()
        print_machine()
        table = Table(
            f"look at 2 × {chosen.repos} repos of {chosen.files} files",
            "s",
            "modelkeep",
            limit="bare walk",
        )
        table.measure(
            chosen.rounds,
            {
                "modelkeep": timed(lambda: command(ours, environment)),
                "hf cache ls, twice": timed(theirs),
                "bare walk": timed(lambda: walk(*caches)),
            },
        )
        table.print()


if __name__ == "__main__":
    main()
