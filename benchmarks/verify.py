"""Verifying a store, against hashing the same bytes with nothing around it.

    python -m benchmarks.verify [--mib 4096] [--files 8] [--small 2000] [--rounds 3] [--dir DIR]

Both use as many processes or threads as there are cores, and read the files in the same order. The
files are read once beforehand, so that memory, or the same disk, serves both alike; `--cold` drops
them from memory before each run instead. `sha256sum` is what a person would type. Memory is what
the process that verified had at its peak, besides what it had before.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

from tests.models import random_file

from benchmarks.report import Contestant, Table, print_machine, timed
from modelkeep.fs.cores import cores
from modelkeep.store.digest import SHA256, Digest, hash_file
from modelkeep.store.store import Store
from modelkeep.store.verify import verify

MIB = 1 << 20


def main() -> None:
    """Measure, in alternating rounds, and print GB/s with ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=4096)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--small", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--dir", type=Path, help="where to work; its file system is what counts")
    chosen = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory(prefix="bench-verify-", dir=chosen.dir) as base:
        each = chosen.mib * MIB // chosen.files
        _compare(Path(base), "large", [each] * chosen.files, chosen.rounds, chosen.cold)
        _compare(Path(base), "small", [20_000] * chosen.small, chosen.rounds, chosen.cold)


def _compare(base: Path, title: str, sizes: Sequence[int], rounds: int, cold: bool) -> None:
    store = Store.create(base / title)
    digests = [_put(store, size, number) for number, size in enumerate(sizes)]
    paths = [store.path(digest) for digest in digests]
    total, jobs = sum(sizes), cores()

    def prepare() -> None:
        for path in paths:
            _forget(path) if cold else path.read_bytes()

    def rate(work: Callable[[], object]) -> Contestant:
        seconds = timed(work, prepare=prepare)
        return lambda: total / seconds() / 1e9

    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(_plain, paths[:jobs]))  # processes start before they are measured
        table = Table(
            f"{len(sizes)} files, {total / 1e9:.1f} GB, {jobs} at once",
            "GB/s",
            "modelkeep verify",
            better="more",
            limit="plain sha256",
        )
        table.measure(
            rounds,
            {
                "modelkeep verify": rate(lambda: _verify(store, digests)),
                "plain sha256": rate(lambda: list(pool.map(_plain, paths, chunksize=1))),
                "sha256sum": rate(lambda: _sha256sum(paths, jobs)),
            },
        )
        table.print()
    print(f"  memory of the process that verified: {_peak(store, digests) / MIB:.1f} MiB more")


def _put(store: Store, size: int, number: int) -> Digest:
    part = random_file(store.layout.tmp / f"part-{number}", size, seed=number)
    digest, _ = hash_file(part, SHA256)
    store.publish(part, digest, verified=True)
    return digest


def _forget(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _verify(store: Store, digests: Sequence[Digest]) -> None:
    assert verify(store, digests).ok


def _plain(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        hasher, buffer = sha256(), memoryview(bytearray(MIB))
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return hasher.hexdigest()


def _sha256sum(paths: Sequence[Path], jobs: int) -> None:
    names = "\0".join(map(str, paths)).encode()
    many = str(max(1, min(100, len(paths) // jobs // 4)))
    command = ["xargs", "-0", "-P", str(jobs), "-n", many, "sha256sum"]
    subprocess.run(command, input=names, check=True, stdout=subprocess.DEVNULL)


def _peak(store: Store, digests: Sequence[Digest]) -> int:
    """Return the memory that verifying takes in a process that does nothing else, in bytes."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = _highest()
        _verify(store, digests)
        os.write(writing, str(_highest() - before).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return int(answer)


def _highest() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
