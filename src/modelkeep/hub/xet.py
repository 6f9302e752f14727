"""Files that are better fetched by the Hub client's own Xet library.

Ranges over HTTP resume where they stopped, which `hf_xet` does not, so they are the rule. The
exception is a file the Hub does not serve over plain HTTP, being larger than 50 GB. Mirrors often
announce Xet hashes without serving Xet; whatever fails here is fetched in ranges instead.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelkeep.fs import durable, locks
from modelkeep.fs.oserrors import explained
from modelkeep.hub.progress import Progress
from modelkeep.hub.repo import Repo, RepoType
from modelkeep.hub.tree import TreeFile
from modelkeep.store.digest import Digest, hash_file

LARGEST_OVER_HTTP = 50 * 1000**3
_SERVED_BY_XET_ALONE = ("huggingface.co", "hf.co")


class XetUse(StrEnum):
    """When to leave a file to the Xet library."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def prefers_xet(file: TreeFile, endpoint: str, use: XetUse = XetUse.AUTO) -> bool:
    """Tell whether a file should come by Xet rather than in ranges."""
    if not file.xet_hash or use is XetUse.NEVER:
        return False
    if use is XetUse.ALWAYS:
        return True
    host = urlsplit(endpoint).hostname or ""
    return file.size > LARGEST_OVER_HTTP and host in _SERVED_BY_XET_ALONE


def fetch_by_client(
    file: TreeFile,
    repo: Repo,
    commit: str,
    *,
    endpoint: str,
    token: str | None,
    scratch: Path,
    locks_in: Path,
    progress: Progress,
    have: Callable[[Digest], bool],
    deliver: Callable[[TreeFile, Path], None],
) -> bool:
    """Have the Hub client fetch one file, verify and deliver it.

    True: the content is there, `deliver`ed by this process or brought by another. False: it has to
    be fetched in ranges; `progress` was told why. `deliver` gets a private regular file whose bytes
    were hashed. A crash leaves a directory in `scratch`, of no use to later runs.
    """
    lock = locks_in / f"fetch-{file.digest.file_name}.lock"

    def on_wait(_seconds: float) -> None:
        progress.waiting(f"another process is fetching `{file.path}`", 1.0)

    with locks.hold(lock, on_wait=on_wait):
        if have(file.digest):
            return True
        private = scratch / durable.unique_name("xet-")
        durable.make_dirs(private)
        try:
            arrived = _download(file, repo, commit, endpoint, token, private)
            if isinstance(arrived, str):
                progress.note(f"`{file.path}` does not come by Xet ({arrived}), fetching ranges")
                return False
            with explained("hashing a download", arrived):
                found, _ = hash_file(arrived, file.digest.algorithm)
            if found != file.digest:
                progress.note(f"`{file.path}` arrived damaged by Xet, fetching ranges")
                return False
            progress.advanced(file.size)
            deliver(file, arrived)
        finally:
            shutil.rmtree(private, ignore_errors=True)
    progress.file_done(file.path)
    return True


def _download(
    file: TreeFile, repo: Repo, commit: str, endpoint: str, token: str | None, private: Path
) -> Path | str:
    """Return where the file arrived, or why it did not."""
    from huggingface_hub import constants, hf_hub_download

    if constants.HF_HUB_DISABLE_XET or not importlib.util.find_spec("hf_xet"):
        return "hf_xet is missing or switched off"
    keywords: dict[str, Any] = {
        "repo_type": None if repo.type is RepoType.MODEL else repo.type.value,
        "revision": commit,
        "cache_dir": private,
        "endpoint": endpoint,
        "token": token or False,
        "library_name": "modelkeep",
    }
    try:
        with _no_bars():
            path = hf_hub_download(repo.id, file.path, **keywords)
    except Exception as error:  # three generations of clients over two HTTP libraries raise these
        return type(error).__name__
    # Clients of 2.x keep Xet files in a shared store and link to them; the file itself is wanted.
    return Path(path).resolve()


@contextmanager
def _no_bars() -> Iterator[None]:
    # Public, though the package does not say so to type checkers.
    utils: Any = importlib.import_module("huggingface_hub.utils")

    were_off = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            utils.enable_progress_bars()
