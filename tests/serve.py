"""Serve a model from a stand-in Hub until terminated: `python -m tests.serve --minilm`.

`main` has two commits; the earlier one differs in a small file only.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from tests.hub import Hub, Repository
from tests.models import files_of, minilm

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def publish(hub: Hub, repo_id: str, folder: Path) -> Repository:
    """A repository with the folder's files, after a commit in which README.md was shorter."""
    files = files_of(folder)
    readme = files["README.md"].read_bytes() if "README.md" in files else b"# Model\n"
    repo = hub.repo(repo_id)
    repo.commit({**files, "README.md": readme[: len(readme) // 2]}, message="Upload the model")
    repo.commit({"README.md": readme}, update=True, message="Complete the README")
    return repo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="a model to serve as demo/NAME")
    parser.add_argument("--minilm", action="store_true", help=f"serve {MINILM}")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float, help="bytes per second and connection")
    parser.add_argument("--print-endpoint", action="store_true", help="on the first line of stdout")
    options = parser.parse_args()
    if options.folder is None and not options.minilm:
        parser.error("nothing to serve: name a folder or --minilm")
    # blocked before any thread starts, so that only the wait below takes them
    ending = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    with Hub(options.port) as hub:
        if options.minilm:
            publish(hub, MINILM, minilm())
        if options.folder is not None:
            publish(hub, f"demo/{options.folder.resolve().name}", options.folder)
        hub.rate_limit_per_connection(options.rate)
        if options.print_endpoint:
            print(hub.endpoint, flush=True)
        signal.sigwait(ending)


if __name__ == "__main__":
    main()
