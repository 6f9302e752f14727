"""Adopting two caches that share most of their bytes, against hashing them, and doing it again.

    python -m benchmarks.adopt [--mib 1024] [--rounds 3] [--dir DIR]

Whoever verifies has to read every byte: sha256 of the same files on as many threads is the limit.
The caches are written anew before each round, so that nothing is left from the one before, and lie
in memory for all contestants alike.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.caches import disk_bytes
from tests.models import random_file

from benchmarks.report import Table, print_machine, timed
from modelkeep.fs.cores import cores
from modelkeep.fs.space import readable
from modelkeep.keep import Keep
from modelkeep.store.digest import SHA256, hash_file

MIB = 1 << 20
_COMMON = 6
_OWN = 4


def fill(cache: Path, repo: str, sources: dict[str, Path]) -> None:
    """Write a repo into a cache, its weights by reading what `sources` has by sha256."""
    folder = cache / f"models--org--{repo}"
    commit = "0" * 40
    snapshot = folder / "snapshots" / commit
    for path in (folder / "blobs", folder / "refs", snapshot):
        path.mkdir(parents=True)
    (folder / "refs/main").write_text(commit)
    for number, (etag, source) in enumerate(sources.items()):
        shutil.copyfile(source, folder / "blobs" / etag)
        (snapshot / f"model-{number}.safetensors").symlink_to(f"../../blobs/{etag}")


def main() -> None:
    """Measure, in alternating rounds, and print seconds with ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="bytes of both caches together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="where to work; its file system is what counts")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-adopt-", dir=chosen.dir) as name:
        base = Path(name)
        size = max(2, chosen.mib // (2 * (_COMMON + _OWN))) * MIB
        weights = {}
        for seed in range(_COMMON + 2 * _OWN):
            file = random_file(base / f"weights-{seed}", size, seed)
            weights[hash_file(file, SHA256)[0].hex] = file
        etags = list(weights)
        parts = {"a": etags[: _COMMON + _OWN], "b": etags[:_COMMON] + etags[_COMMON + _OWN :]}
        caches = [base / cache for cache in parts]
        keeps: list[Keep] = []

        def prepare() -> None:
            for folder in (*caches, base / "keep"):
                shutil.rmtree(folder, ignore_errors=True)
            for cache, names in zip(caches, parts.values(), strict=True):
                fill(cache, cache.name, {etag: weights[etag] for etag in names})
            keeps[:] = [Keep.create(base / "keep")]

        def adopt() -> None:
            for plan in keeps[0].plan_adoption(caches, share=True):
                keeps[0].adopt(plan)

        def adopt_first() -> None:
            prepare()
            adopt()

        def hash_all() -> None:
            files = [path for cache in caches for path in cache.glob("*/blobs/*")]
            with ThreadPoolExecutor(cores()) as pool:
                list(pool.map(lambda path: hash_file(path, SHA256), files))

        print_machine()
        total = 2 * (_COMMON + _OWN) * size
        table = Table(f"adopting two caches of {readable(total)}", unit="s", ours="modelkeep adopt")
        table.limit = "sha256 of the same bytes"
        table.measure(
            chosen.rounds,
            {
                "sha256 of the same bytes": timed(hash_all, prepare=prepare),
                "modelkeep adopt": timed(adopt, prepare=prepare),
                "modelkeep adopt again": timed(adopt, prepare=adopt_first),
            },
        )
        table.print()
        again = table.median("modelkeep adopt again") / table.median("modelkeep adopt")
        left, ideal = disk_bytes(*caches, base / "keep/store/blobs"), len(weights) * size
        print(f"  the second run takes {again:.2%} of the first")
        print(f"  left on the disk: {left / ideal:.4f} of each content once")


if __name__ == "__main__":
    main()
