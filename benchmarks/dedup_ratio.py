"""What is left on the disk of two caches after each tool, whether they load, and what was shared.

    python -m benchmarks.dedup_ratio [--mib 256] [--dir DIR]

The caches share 60 % of their bytes, small files, and one file of 2 MiB that is damaged in both in
the same way, as where one cache was copied from the other. Whoever compares bytes alone lets the
damaged copies share one inode; whoever knows what the names promise does not. `loads` is about all
repos but that file's. `edits leak` tells whether a configuration that is edited in place in one
cache changes in the other. rdfind and jdupes make hard links; `hf cache prune` is all that the
stock client offers.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.caches import Revision, disk_bytes, etag, write
from tests.clients import CLIENTS, run_client
from tests.models import random_bytes

from benchmarks.report import command, print_machine
from modelkeep.keep import Keep

MIB = 1 << 20
_CONFIG = b'{"model_type": "bert", "hidden_size": 64}'
_LOAD = """
import os
from huggingface_hub import snapshot_download
result = 0
for repo in REPOS:
    top = snapshot_download(repo)
    for base, _, names in os.walk(top):
        result += sum(os.path.getsize(os.path.join(base, name)) for name in names)
"""


def main() -> None:
    """Run each tool on the same tree and print what it left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256, help="bytes of both caches together")
    parser.add_argument("--dir", type=Path, help="where to work; its file system is what counts")
    chosen = parser.parse_args()
    unit = max(2, chosen.mib // 20) * MIB
    shared = [random_bytes(unit, seed) for seed in range(6)]
    own = {"a": random_bytes(4 * unit, 10), "b": random_bytes(4 * unit, 11)}
    repos = {
        cache: [
            Revision(f"org/base-{cache}", {"config.json": _CONFIG, **_named(shared[:3])}),
            Revision(f"org/more-{cache}", {"config.json": _CONFIG, **_named(shared[3:])}),
            Revision(f"org/own-{cache}", {"config.json": _CONFIG, "model.bin": own[cache]}),
        ]
        for cache in own
    }
    bad = random_bytes(2 * MIB, 12)
    distinct = [_CONFIG, *shared, *own.values(), bad]
    damaged = etag(bad)
    with tempfile.TemporaryDirectory(prefix="bench-dedup-", dir=chosen.dir) as name:
        base = Path(name)
        caches = [base / cache for cache in repos]

        def prepare() -> None:
            for folder in (*caches, base / "keep"):
                shutil.rmtree(folder, ignore_errors=True)
            for cache in caches:
                write(cache, *repos[cache.name], Revision("org/damaged", {"model.bin": bad}))
                next(cache.glob(f"*/blobs/{damaged}")).write_bytes(b"\0" + bad[1:])

        tools: dict[str, Callable[[], object]] = {
            "nothing": lambda: None,
            "hf cache prune": lambda: prune(caches),
            "rdfind": lambda: command(
                ["rdfind", "-makehardlinks", "true", "-makeresultsfile", "false", *caches]
            ),
            "jdupes": lambda: command(["jdupes", "--recurse", "--link-hard", "--quiet", *caches]),
            "modelkeep adopt": lambda: _adopt(base / "keep", caches),
            "modelkeep adopt --merge": lambda: _adopt(base / "keep", caches, merge=True),
        }
        print_machine()
        ideal = sum(map(len, distinct))
        print(f"\ntwo caches; each content once is {ideal / 1e6:.0f} MB")
        print(f"  {'':24}  {'left':>8}  {'of ideal':>8}  loads  wrong bytes shared  edits leak")
        for tool, run in tools.items():
            if tool in ("rdfind", "jdupes") and shutil.which(tool) is None:
                print(f"  {tool:24}  not installed: apt-get install {tool}")
                continue
            prepare()
            run()
            places = [path for path in base.iterdir() if path.is_dir() and not path.is_symlink()]
            left = disk_bytes(*places)
            facts = (
                _yes(_loads(caches, repos)),
                _yes(_shares(places, damaged)),
                _yes(_leaks(caches, repos)),
            )
            if tool == "nothing" and facts[0] == "no":
                raise SystemExit("the clients do not even load the caches as they were written")
            shown = f"{left / 1e6:5.0f} MB  {left / ideal:7.3f}×"
            print(f"  {tool:24}  {shown}  {facts[0]:5}  {facts[1]:18}  {facts[2]}")


def prune(caches: list[Path]) -> None:
    hf = Path(sys.executable).with_name("hf")
    for cache in caches:
        command([hf, "cache", "prune", "--yes", "--cache-dir", cache])


def _named(contents: list[bytes]) -> dict[str, bytes]:
    return {f"model-{number}.safetensors": data for number, data in enumerate(contents)}


def _adopt(directory: Path, caches: list[Path], *, merge: bool = False) -> None:
    keep = Keep.create(directory)
    for plan in keep.plan_adoption(caches, merge=merge, share=True):
        keep.adopt(plan)


def _loads(caches: list[Path], repos: dict[str, list[Revision]]) -> bool:
    """Tell whether the newest and the oldest client find the repos of each cache offline."""
    for client in (next(iter(CLIENTS)), "0.36.2"):
        for cache in caches:
            names = repr([revision.repo for revision in repos[cache.name]])
            env = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
            try:
                run_client(client, _LOAD.replace("REPOS", names), env)
            except subprocess.CalledProcessError:
                return False
    return True


def _shares(places: list[Path], damaged: str) -> bool:
    """Tell whether the damaged copies are one inode now."""
    inodes = [path.stat().st_ino for place in places for path in place.rglob(damaged)]
    return len(set(inodes)) < len(inodes)


def _leaks(caches: list[Path], repos: dict[str, list[Revision]]) -> bool:
    """Edit a configuration in place in the first cache and look at the others."""
    first, *others = [
        cache / revision.folder / "snapshots" / revision.commit / "config.json"
        for cache in caches
        for revision in repos[cache.name]
    ]
    first.chmod(0o644)
    first.write_bytes(b"{}")
    return any(other.read_bytes() != _CONFIG for other in others)


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


if __name__ == "__main__":
    main()
