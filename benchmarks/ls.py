"""Listing a large keep: `modelkeep ls` against `hf cache ls` on the same hub cache.

    python -m benchmarks.ls [--repos 1000] [--files 30] [--rounds 5]

The keep is written file by file in its documented format, without the syncs that make a real pull
durable, since only its shape matters here. Both commands count what every repo takes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Table, command, print_machine, timed
from modelkeep.hub import tree
from modelkeep.hub.repo import Repo, RepoType
from modelkeep.hub.tree import TreeFile
from modelkeep.keep import Keep
from modelkeep.store import meta as metas
from modelkeep.store.digest import GIT_SHA1, SHA256, hash_bytes
from modelkeep.store.meta import Meta, Source
from modelkeep.times import utc_now

SCRIPTS = Path(sys.executable).parent
SHARED = 10  # every tenth file is the same in all repos, as licences and tokenizers are


def plant(keep: Keep, repos: int, files: int) -> None:
    """Fill a keep with repos of small files, linked, described and referred to as by a pull."""
    references = []
    for number in range(repos):
        repo = Repo(RepoType.MODEL, f"org-{number % 50}/model-{number}")
        folder = keep.hub.folder(repo)
        commit = hashlib.sha1(repo.id.encode(), usedforsecurity=False).hexdigest()
        snapshot = keep.hub.snapshot(repo, commit)
        for part in ("blobs", "refs", "trees"):
            (folder / part).mkdir(parents=True)
        snapshot.mkdir(parents=True)
        listed = []
        for path, data in contents(number, files):
            file = describe(path, data)
            listed.append(file)
            blob = keep.store.layout.blob(file.digest)
            if not blob.exists():
                blob.write_bytes(data)
                blob.chmod(0o444)
                source = Source(str(repo), commit, path, "https://hub.example")
                meta = Meta.of(blob.stat(), now=utc_now(), source=source)
                metas.write(keep.store.layout.meta(file.digest), meta)
                keep.store.layout.used(file.digest).touch()
            (folder / "blobs" / file.digest.etag).hardlink_to(blob)
            (snapshot / path).symlink_to(f"../../blobs/{file.digest.etag}")
            references.append((file.digest, keep.hub.blob_name(repo, file.digest)))
        (folder / "trees" / f"{commit}.json").write_bytes(tree.dump(listed))
        (folder / "refs" / "main").write_text(commit)
    keep.store.roots.own_hub().refer(references)


def contents(number: int, files: int) -> Iterator[tuple[str, bytes]]:
    """Yield the paths and bytes of one repo's files."""
    for index in range(files):
        shared = index % SHARED == 0
        suffix = ".safetensors" if index % 3 == 0 else ".json"
        owner = "all" if shared else str(number)
        yield f"file-{index:02}{suffix}", f"{owner}/{index}".encode()


def describe(path: str, data: bytes) -> TreeFile:
    """Return the entry of a file as the Hub would list it."""
    blob_id = hash_bytes(data, GIT_SHA1)
    digest = hash_bytes(data, SHA256) if path.endswith(".safetensors") else blob_id
    return TreeFile(path, len(data), digest, blob_id.hex)


def main() -> None:
    """Plant a keep, list it in alternating rounds, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repos", type=int, default=1000)
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ls-") as base:
        keep = Keep.create(Path(base) / "keep")
        plant(keep, chosen.repos, chosen.files)
        environment = {
            "MODELKEEP_HOME": str(keep.directory),
            "HF_HUB_CACHE": str(keep.hub.directory),
            "HF_HOME": f"{base}/home",
            "HF_HUB_OFFLINE": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # installed programs have their bytecode beside them
            "PYTHONPYCACHEPREFIX": f"{base}/bytecode",
        }
        ours: list[str | Path] = [SCRIPTS / "modelkeep", "ls"]
        theirs: list[str | Path] = [SCRIPTS / "hf", "cache", "ls"]
        for warm in (ours, theirs):
            command(warm, environment)
        print_machine()
        table = Table(f"ls of {chosen.repos} repos × {chosen.files} files", "s", "modelkeep ls")
        table.measure(
            chosen.rounds,
            {
                "modelkeep ls": timed(lambda: command(ours, environment)),
                "hf cache ls": timed(lambda: command(theirs, environment)),
            },
        )
        table.print()


if __name__ == "__main__":
    main()
