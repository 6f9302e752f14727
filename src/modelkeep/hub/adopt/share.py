"""Lets a cache share its files with the store, and mends its pointers to what the store has."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from modelkeep.errors import ModelkeepError, NoSpaceError
from modelkeep.fs import durable
from modelkeep.fs.links import COPY_BELOW, Linker
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.adopt.inventory import Dangling, Found, Inventory
from modelkeep.hub.adopt.journal import FINISHED, LINK, NEW, Entry, Journal, unfinished
from modelkeep.hub.adopt.plan import Adopted, Plan, preview, total
from modelkeep.hub.adopt.scratch import built
from modelkeep.hub.adopt.sharer import CACHE_RUNGS, PLAIN_RUNGS, Result, Sharer
from modelkeep.hub.adopt.steps import entries, refer, report, require_there, working_on
from modelkeep.hub.progress import Progress
from modelkeep.store.digest import Digest
from modelkeep.store.marks import wait_out
from modelkeep.store.roots import Root
from modelkeep.store.store import Store


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
        used_before = root.paths()
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
            if not used_before and not any(result.shared for result in results):
                store.roots.forget(root)  # what it does not use it need not keep from being freed
        else:
            journal.note(FINISHED)
        return report(plan, results, mended, journal if journal.finished else None)


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
