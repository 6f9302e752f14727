"""Which files of a cache load now, and would not once a link to the keep's hub stands there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from shlex import quote

from modelkeep.errors import UsageError
from modelkeep.fs.folders import entries
from modelkeep.fs.oserrors import explained
from modelkeep.hub.adopt.inventory import CachedRepo, Inventory, walk
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest


def stranded(stock: Inventory, hub: HubCache, besides: Collection[Path] = ()) -> Iterator[Path]:
    """Yield what loads in a cache and not in the hub; `besides` are files that need not load."""
    for entry in entries(os.fspath(stock.directory)):
        repo = Repo.from_folder(entry.name)
        if repo is None:
            continue
        folder = stock.directory / entry.name
        for path in walk(folder / "snapshots"):
            try:
                # A folder is there in place of a file where a link leads to one.
                loads = path.is_file() or path.is_dir()
            except OSError:
                loads = True
            if not loads or (hub.folder(repo) / path.relative_to(folder)).exists():
                continue
            if Path(os.path.realpath(path)) not in besides:
                yield path


def left_behind(stock: Inventory, hub: HubCache) -> Iterator[Path]:
    """Yield what is stranded whatever a merge does, as far as names tell."""
    cached = {stock.directory / one.repo.folder: one for one in stock.repos}
    for path in stranded(stock, hub):
        repo, _, commit, *rest = path.relative_to(stock.directory).parts
        if not _comes_along(stock, cached.get(stock.directory / repo), commit, "/".join(rest)):
            yield path


def _comes_along(stock: Inventory, cached: CachedRepo | None, commit: str, name: str) -> bool:
    if cached is None or name not in cached.snapshots.get(commit, {}):
        return False
    blob = cached.snapshots[commit][name]
    if blob is None or cached.blobs.get(blob) is not None:
        return True
    as_it_is = stock.directory / cached.repo.folder / "blobs" / blob
    return Digest.from_etag(blob) is None and not as_it_is.is_symlink()


def refuse(cache: Path, stock: Inventory, paths: Iterator[Path], *, begun: bool) -> None:
    """Raise UsageError with the first of the paths, and why it does not come along."""
    for path in paths:
        hint = "adopt it without --merge"
        if begun:
            hint += f"; what was begun goes back by modelkeep adopt --undo {quote(str(cache))}"
        raise UsageError(
            f"`{cache}` stays as it is: `{path}` loads now and would not from the keep:"
            f" {_reason(stock, path)}",
            hint=hint,
            path=path,
        )


def _reason(stock: Inventory, path: Path) -> str:
    """Return why a file is left where it is: for its own sake, its blob's or its folder's."""
    reasons = {skipped.path: skipped.reason for skipped in stock.skipped}
    places = [path, *path.parents]
    with explained("looking at", path):
        if path.is_symlink():
            places.insert(1, Path(os.path.normpath(path.parent / path.readlink())))
    found = (reasons[str(place)] for place in places if str(place) in reasons)
    return next(found, "the keep has no place for it")
