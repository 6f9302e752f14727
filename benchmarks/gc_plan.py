"""Planning a collection of a large keep, against a bare walk of the same tree.

    python -m benchmarks.gc_plan [--repos 3000] [--files 34] [--rounds 3]

The keep is that of `benchmarks.ls`, with as many blobs that nothing refers to any more. The walk
looks at each file once (`scandir` and `lstat`), in the store's blobs and in the hub: nothing that
plans can do less. `hf cache ls`, which plans nothing, reads the same hub.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.ls import SCRIPTS, plant
from benchmarks.report import Table, command, print_machine, timed
from modelkeep.keep import Keep
from modelkeep.store import meta as metas
from modelkeep.store.digest import SHA256, hash_bytes
from modelkeep.store.meta import Meta, Source
from modelkeep.times import utc_now

UNUSED = 0.1  # of all blobs, so many more that nothing uses


def abandon(keep: Keep, count: int) -> None:
    """Add blobs that nothing refers to, as removals that were killed leave them."""
    source = Source("org/gone", "0" * 40, "file", "https://hub.example")
    for number in range(count):
        data = b"unused %d" % number
        digest = hash_bytes(data, SHA256)
        blob = keep.store.layout.blob(digest)
        blob.write_bytes(data)
        metas.write(
            keep.store.layout.meta(digest), Meta.of(blob.stat(), now=utc_now(), source=source)
        )


def walk(*tops: Path) -> int:
    """Look at every file once; return how many there are."""
    count = 0
    folders = [os.fspath(top) for top in tops]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    count += 1
    return count


def main() -> None:
    """Plant a keep, plan its collection in alternating rounds, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repos", type=int, default=3000)
    parser.add_argument("--files", type=int, default=34)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-gc-") as base:
        keep = Keep.create(Path(base) / "keep")
        plant(keep, chosen.repos, chosen.files)
        abandon(keep, int(chosen.repos * chosen.files * UNUSED))
        blobs = sum(1 for _ in keep.store.entries())
        environment = {
            "MODELKEEP_HOME": str(keep.directory),
            "HF_HUB_CACHE": str(keep.hub.directory),
            "HF_HOME": f"{base}/home",
            "HF_HUB_OFFLINE": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # installed programs have their bytecode beside them
            "PYTHONPYCACHEPREFIX": f"{base}/bytecode",
        }
        theirs: list[str | Path] = [SCRIPTS / "hf", "cache", "ls"]
        garbage: list[str | Path] = [SCRIPTS / "modelkeep", "gc", "--dry-run"]
        everything = [*garbage, "--all"]
        for warm in (theirs, garbage, everything):
            command(warm, environment)
        going = len(keep.plan_collection(everything=True, grace=0).remove)
        print_machine()
        print(f"{blobs} blobs, {chosen.repos} revisions; the plan removes {going} things")
        table = Table(
            f"plan a collection of {blobs} blobs", "s", "gc --all --dry-run", limit="bare walk"
        )
        table.measure(
            chosen.rounds,
            {
                "gc --all --dry-run": timed(lambda: command(everything, environment)),
                "gc --dry-run": timed(lambda: command(garbage, environment)),
                "bare walk": timed(lambda: walk(keep.store.layout.blobs, keep.hub.directory)),
                "hf cache ls": timed(lambda: command(theirs, environment)),
            },
        )
        table.print()


if __name__ == "__main__":
    main()
