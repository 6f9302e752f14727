"""What sharing and merging have in common: who works on a cache, what is noted, what is said."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from modelkeep.errors import BusyError, NotFoundError
from modelkeep.fs import durable
from modelkeep.fs.locks import hold
from modelkeep.fs.oserrors import explained
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.adopt import swap
from modelkeep.hub.adopt.inventory import Dangling, Found, Inventory
from modelkeep.hub.adopt.journal import Entry, Journal
from modelkeep.hub.adopt.plan import Adopted, Plan, preview
from modelkeep.hub.adopt.sharer import Result
from modelkeep.hub.skipped import Skipped
from modelkeep.store.digest import Digest
from modelkeep.store.roots import Root
from modelkeep.store.store import Store


@contextmanager
def working_on(store: Store, cache: Path) -> Iterator[None]:
    """Keep others from adopting, or undoing, the same cache; BusyError where somebody does."""
    name = hashlib.sha256(str(cache).encode(errors="surrogateescape")).hexdigest()[:32]
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(store.layout.locks / f"adopt-{name}", timeout=0))
        except BusyError as error:
            raise BusyError(
                f"another process is adopting `{cache}`", hint="wait for it to finish", path=cache
            ) from error
        yield


def require_there(plan: Plan, journal: Journal | None) -> None:
    """Raise unless the files still lie where they were when the plan was made."""
    folder = swap.folder_of(plan.cache, journal.set_aside if journal else None)
    if folder is None:
        raise NotFoundError(f"`{plan.cache}` is gone", hint="look for it", path=plan.cache)
    if folder != plan.directory:
        raise BusyError(f"`{plan.cache}` was moved meanwhile", hint="run adopt again")


def entries(store: Store, stock: Inventory, files: Iterable[Found]) -> list[Entry]:
    """Return what is to be noted of files, and of the folders whose times change with them."""
    directory, noted = stock.directory, []
    for found in files:
        shared = durable.is_inode(store.path(found.digest), found.status)
        noted.append(Entry.of(found.path, found.status, found.digest, shared=shared))
    folders = {Path(entry.path).parent for entry in noted}
    folders |= {Path(pointer.use.repo.folder, "blobs") for pointer in stock.dangling}
    for folder in sorted(folders):
        with explained("looking at", directory / folder):
            try:
                noted.append(Entry.of(folder.as_posix(), (directory / folder).lstat()))
            except FileNotFoundError:
                continue  # a folder of blobs that is to be made
    return noted


def refer(root: Root, uses: Iterable[tuple[Digest, str]]) -> None:
    """Record the uses of a root that are not recorded yet."""
    recorded = root.paths()
    new = [(digest, path) for digest, path in uses if path not in recorded]
    if new:
        root.refer(new)
        reach("adopt:referred")


def report(
    plan: Plan,
    results: Sequence[Result],
    mended: Collection[Dangling],
    journal: Journal | None,
) -> Adopted:
    """Say what was done."""
    left = [
        (result.corrupt, Skipped(str(plan.cache / result.found.path), result.reason))
        for result in results
        if result.reason
    ]
    freed = sum(result.freed for result in results) - sum(result.copied for result in results)
    planned = preview(plan)
    return replace(
        planned,
        bytes_shared=sum(result.found.status.st_size for result in results if result.shared),
        bytes_freed=max(0, freed),
        skipped=(*planned.skipped, *(skipped for corrupt, skipped in left if not corrupt)),
        corrupt=tuple(skipped for corrupt, skipped in left if corrupt),
        broken=plan.stock.unmended(mended),
        mended=len(mended),
        journal=journal.folder if journal else None,
        dry_run=False,
    )
