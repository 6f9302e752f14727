"""Naming content: hash, seal, sync and link of one large file, against its parts.

    python -m benchmarks.publish [--mib 1024] [--rounds 3] [--dir DIR]

The file is written just before each round and not synced, as one that has just arrived, so that its
bytes are in memory and those who sync have to write them. sha256 alone is the limit of anything
that verifies; `cp` with a sync is what giving the file to somebody costs who verifies nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.models import random_file

from benchmarks.report import Contestant, Table, print_machine, timed
from modelkeep.store.digest import SHA256, hash_file
from modelkeep.store.store import Store

MIB = 1 << 20


def main() -> None:
    """Measure, in alternating rounds, and print GB/s with ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="where to work; its file system is what counts")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-publish-", dir=chosen.dir) as base:
        source = random_file(Path(base, "source"), chosen.mib * MIB)
        store = Store.create(Path(base, "store"))
        digest, size = hash_file(source, SHA256)
        part, copy = store.layout.tmp / "part", Path(base, "copy")

        def arrive() -> None:
            store.path(digest).unlink(missing_ok=True)
            copy.unlink(missing_ok=True)
            os.sync()
            shutil.copyfile(source, part)

        def publish(verified: bool) -> None:
            assert store.publish(part, digest, verified=verified)

        def copy_and_sync() -> None:
            with part.open("rb") as arrived, copy.open("wb") as target:
                shutil.copyfileobj(arrived, target, MIB)
                target.flush()
                os.fsync(target.fileno())

        def rate(work: Callable[[], object]) -> Contestant:
            seconds = timed(work, prepare=arrive)
            return lambda: size / seconds() / 1e9

        print_machine()
        table = Table(
            f"naming a file of {chosen.mib} MiB", "GB/s", "publish", better="more", limit="sha256"
        )
        table.measure(
            chosen.rounds,
            {
                "publish": rate(lambda: publish(verified=False)),
                "publish, hashed on arrival": rate(lambda: publish(verified=True)),
                "sha256": rate(lambda: hash_file(part, SHA256)),
                "cp, fsync": rate(copy_and_sync),
            },
        )
        table.print()


if __name__ == "__main__":
    main()
