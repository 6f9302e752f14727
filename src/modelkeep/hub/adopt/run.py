"""Carries out what was decided for one cache: noted first, then shared, mended, merged."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from modelkeep.errors import BusyError, ModelkeepError, NoSpaceError, NotFoundError
from modelkeep.fs import durable
from modelkeep.fs.links import COPY_BELOW, Linker
from modelkeep.fs.locks import hold
from modelkeep.fs.oserrors import explained
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.adopt import swap
from modelkeep.hub.adopt.inventory import Dangling, Found, Inventory
from modelkeep.hub.adopt.journal import FINISHED, LINK, NEW, Entry, Journal, unfinished
from modelkeep.hub.adopt.plan import Adopted, Plan, preview, total
from modelkeep.hub.adopt.scratch import built
from modelkeep.hub.adopt.share import CACHE_RUNGS, PLAIN_RUNGS, Result, Sharer
from modelkeep.hub.progress import Progress
from modelkeep.hub.settle import Skipped
from modelkeep.store.digest import Digest
from modelkeep.store.marks import wait_out
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


def share(store: Store, plan: Plan, upstream: str | None, progress: Progress) -> Adopted:
    """Let a cache share its files with the store; it stays where it is.

    A crash leaves the cache whole, some of it shared; the same call goes on.
    """
    with working_on(store, plan.cache):
        mendable = _mendable(store, plan.stock)
        journal = unfinished(store, plan.cache, merge=False)
        require_there(plan, journal)
        if not (plan.pending or mendable or journal):
            return replace(preview(plan), dry_run=False)
        root = store.roots.register(plan.cache)
        new = journal is None
        progress.started(len(plan.pending), total(plan.pending))
        journal = journal or Journal.begin(store, plan.cache, merge=False)
        journal.add(entries(store, plan.stock, plan.pending))
        refer(root, ((found.digest, found.path) for found in plan.files))
        rungs = PLAIN_RUNGS if plan.plain else CACHE_RUNGS
        sharer = Sharer(store, plan.directory, upstream, progress, rungs=rungs)
        results = _share_large_first(sharer, plan.files)
        mended = _mend(store, plan, root, journal, mendable)
        if new and not mended and not any(result.changed for result in results):
            shutil.rmtree(journal.folder)
        else:
            journal.note(FINISHED)
        return report(plan, results, mended, journal if journal.finished else None)


def require_there(plan: Plan, journal: Journal | None) -> None:
    """Raise unless the files still lie where they were when the plan was made."""
    folder = swap.folder_of(plan.cache, journal.set_aside if journal else None)
    if folder is None:
        raise NotFoundError(f"`{plan.cache}` is gone", hint="look for it", path=plan.cache)
    if folder != plan.directory:
        raise BusyError(f"`{plan.cache}` was moved meanwhile", hint="run adopt again")


def _share_large_first(sharer: Sharer, files: Iterable[Found]) -> list[Result]:
    """Share files; the small ones, which are copied, only where copies are not all there would be.

    So a cache that is out of reach takes no space in the store.
    """
    small = [found for found in files if found.status.st_size < COPY_BELOW]
    large = [found for found in files if found.status.st_size >= COPY_BELOW]
    results = sharer.share(large)
    if large and not any(result.held for result in results):
        why = "nothing large of this cache can be shared, so nothing small is copied"
        return results + [Result(found, reason=why) for found in small]
    return results + sharer.share(small)


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


def _mendable(store: Store, stock: Inventory) -> list[Dangling]:
    """Return the pointers that lead to content which the store has."""
    return [
        pointer
        for pointer in stock.dangling
        if (digest := Digest.from_etag(pointer.blob)) and store.has_sound(digest)
    ]


def _mend(
    store: Store, plan: Plan, root: Root, journal: Journal, pointers: Sequence[Dangling]
) -> list[Dangling]:
    """Put the missing blobs back where pointers expect them."""
    names = {
        f"{pointer.use.repo.folder}/blobs/{pointer.blob}": pointer.blob for pointer in pointers
    }
    journal.add(_replaced(plan.directory, names))
    linker, placed = Linker(CACHE_RUNGS), set()
    digests = {name: Digest.from_etag(blob) for name, blob in names.items()}
    refer(root, ((digest, name) for name, digest in digests.items() if digest))
    for name, digest in digests.items():
        target = plan.directory / name
        if digest is None:
            continue
        wait_out(store.layout, digest)
        try:
            store.describe(digest, None)
            durable.make_dirs(target.parent)
            with built(store, linker, store.path(digest)) as (scratch, _):
                durable.rename(scratch, target)
        except NoSpaceError:
            raise
        except (FileNotFoundError, ModelkeepError):
            continue  # it stays reported as broken
        reach("adopt:mended")
        placed.add(name)
    return [
        pointer
        for pointer in pointers
        if f"{pointer.use.repo.folder}/blobs/{pointer.blob}" in placed
    ]


def _replaced(directory: Path, names: Iterable[str]) -> list[Entry]:
    """Note blobs that are not there, links to nothing among them, and folders that are not."""
    names = list(names)
    folders = dict.fromkeys(str(Path(name).parent) for name in names)
    noted = []
    for name in (*names, *folders):
        path = directory / name
        if path.is_symlink():
            mtime_ns = path.lstat().st_mtime_ns
            noted.append(Entry(name, LINK, mtime_ns=mtime_ns, target=str(path.readlink())))
        elif not path.exists():
            noted.append(Entry(name, NEW))
    return noted
