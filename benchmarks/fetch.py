"""Fetching a model over a good network, a rationed one, and one that is cut.

Whole processes are timed, from start to exit, each into an empty cache: `modelkeep pull` into an
empty keep (it also hashes every byte, syncs it and makes the snapshot), `hf download` over HTTP,
and `aria2c` and `curl`, which fetch the one file and check nothing. The Hub is the stand-in of
tests/ in a process of its own, on loopback; it shares the machine's cores with the contestants.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hub import Blob, Hub

from benchmarks.report import Contestant, Table, command, print_machine, timed

MIB = 1 << 20
RATE = 6_000_000
ARIA_STREAMS = 16
CUTS = 5
REPO = "bench/model"
FILE = "model.safetensors"
BIN = Path(sys.executable).parent


class Server:
    """The stand-in Hub in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.endpoint, self.url = self._line().split()

    def bytes_sent(self) -> int:
        """Return how many bytes of content it has sent so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def serving(file: Path, digest: str, rate: float) -> Iterator[Server]:
    argv = [sys.executable, "-m", "benchmarks.fetch", "--serve", str(file), digest, str(rate)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Server(process)
        finally:
            process.terminate()


def serve(file: Path, digest: str, rate: float) -> None:
    with Hub() as hub:
        repo = hub.repo(REPO)
        commit = repo.commit({FILE: Blob(file, sha256=digest)})
        hub.rate_limit_per_connection(rate or None)
        print(hub.endpoint, f"{hub.endpoint}/{REPO}/resolve/{commit}/{FILE}", flush=True)
        for _ in sys.stdin:
            print(hub.bytes_sent(), flush=True)


class Contest:
    """The contestants, each starting from nothing."""

    def __init__(self, server: Server, scratch: Path) -> None:
        self._server = server
        self._scratch = scratch
        self.keep = scratch / "keep"

    def fresh(self) -> None:
        """Remove what the last one left."""
        for entry in self._scratch.iterdir():
            shutil.rmtree(entry)
        command([BIN / "modelkeep", "init", self.keep])

    def environment(self) -> dict[str, str]:
        """Return variables that send every client to this server and into an empty cache."""
        return {
            "HF_ENDPOINT": self._server.endpoint,
            "HF_HOME": str(self._scratch / "hf"),
            "MODELKEEP_HOME": str(self.keep),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def contestant(self, *argv: str | Path) -> Contestant:
        """Return a command to be timed from start to exit."""
        return timed(lambda: command(argv, self.environment()), self.fresh)

    def modelkeep(self) -> Contestant:
        """Return ours."""
        return self.contestant(BIN / "modelkeep", "pull", REPO)

    def hf(self) -> Contestant:
        """Return the Hub's own client."""
        return self.contestant(BIN / "hf", "download", REPO)

    def aria2c(self) -> Contestant:
        """Return the fastest general downloader, with as many connections as it allows."""
        return self.contestant(*self._aria2c())

    def aria2c_made_sure(self) -> Contestant:
        """Return the same, then what `modelkeep pull` also does: bytes on the disk, and checked."""
        fetch = shlex.join(self._aria2c())
        file = shlex.quote(str(self._scratch / "aria" / FILE))
        return self.contestant("sh", "-c", f"{fetch} && sync {file} && sha256sum {file}")

    def _aria2c(self) -> list[str]:
        split = [f"-x{ARIA_STREAMS}", f"-s{ARIA_STREAMS}", "-k1M"]
        target = ["-d", str(self._scratch / "aria"), "-o", FILE]
        return ["aria2c", "-q", *split, *target, self._server.url]

    def curl(self) -> Contestant:
        """Return one plain stream into a file."""
        return self.contestant(
            "curl", "-sfL", "--create-dirs", "-o", self._scratch / "curl" / FILE, self._server.url
        )


def rationed(file: Path, digest: str, scratch: Path, rounds: int) -> None:
    size = file.stat().st_size
    title = f"{size // MIB} MiB, each connection limited to {RATE / 1e6:.0f} MB/s"
    table = Table(title, unit="s", ours="modelkeep pull")
    with serving(file, digest, RATE) as server:
        contest = Contest(server, scratch)
        table.measure(
            rounds,
            {
                "modelkeep pull": contest.modelkeep(),
                "hf download": contest.hf(),
                f"aria2c -x{ARIA_STREAMS}": contest.aria2c(),
            },
        )
    table.add(f"{ARIA_STREAMS} connections, nothing else", size / RATE / ARIA_STREAMS)
    table.print()


def unlimited(file: Path, digest: str, scratch: Path, rounds: int) -> None:
    title = f"{file.stat().st_size // MIB} MiB, unlimited loopback"
    table = Table(title, unit="s", ours="modelkeep pull", limit="curl -o")
    with serving(file, digest, 0) as server:
        contest = Contest(server, scratch)
        table.measure(
            rounds,
            {
                "modelkeep pull": contest.modelkeep(),
                "hf download": contest.hf(),
                f"aria2c -x{ARIA_STREAMS}": contest.aria2c(),
                "aria2c, sync, sha256sum": contest.aria2c_made_sure(),
                "curl -o": contest.curl(),
            },
        )
    table.print()


def cut(file: Path, digest: str, scratch: Path) -> None:
    size = file.stat().st_size
    chance = random.Random()
    with serving(file, digest, RATE) as server:
        contest = Contest(server, scratch)
        contest.fresh()
        environment = {**os.environ, **contest.environment()}
        argv = [str(BIN / "modelkeep"), "pull", REPO]
        for goal in sorted(chance.uniform(0.02, 0.98) for _ in range(CUTS)):
            with subprocess.Popen(
                argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as pull:
                while server.bytes_sent() < goal * size and pull.poll() is None:
                    time.sleep(0.01)
                os.kill(pull.pid, signal.SIGKILL)
        command(argv, contest.environment())
        sent = server.bytes_sent()
    print(f"\n{size // MIB} MiB, cut {CUTS} times at random by kill -9")
    print(f"  bytes over the wire / size  {sent / size:.4f}  (limit 1.05; starting over: up to 6)")


def _payload(scratch: Path, size: int) -> tuple[Path, str]:
    path, digest = scratch / f"{size}.bin", hashlib.sha256()
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(size // MIB):
            data = number.to_bytes(8, "big") + block[8:]
            digest.update(data)
            file.write(data)
    return path, digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="a directory on the disk to measure")
    parser.add_argument("--only", choices=["rationed", "unlimited", "cut"])
    options = parser.parse_args()
    if options.serve:
        path, digest, rate = options.serve
        serve(Path(path), digest, float(rate))
        return
    print_machine()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        source, scratch = Path(folder) / "source", Path(folder) / "scratch"
        source.mkdir()
        scratch.mkdir()
        if options.only in (None, "rationed"):
            rationed(*_payload(source, 256 * MIB), scratch, options.rounds)
        if options.only in (None, "unlimited", "cut"):
            large = _payload(source, 1024 * MIB)
            if options.only != "cut":
                unlimited(*large, scratch, options.rounds)
            if options.only != "unlimited":
                cut(*large, scratch)


if __name__ == "__main__":
    main()
