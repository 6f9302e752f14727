"""Moves a cache into the keep's own hub: every revision, by commit, and what else loaders look for.

The hub has everything before the cache is replaced by a link to it, so that a client that runs
meanwhile finds the same bytes at the same paths. Only then the files that the store has leave the
old folder, which stays beside as the place of what a keep does not know.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote

from modelkeep.errors import AccessError, BusyError, UsageError
from modelkeep.fs import durable
from modelkeep.fs.clock import now_ns
from modelkeep.fs.links import COPY_BELOW, Linker, LinkMode
from modelkeep.fs.locks import hold
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import allocated_bytes
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.adopt import loadable, swap
from modelkeep.hub.adopt.inventory import (
    SHARED,
    CachedRepo,
    Found,
    Inventory,
    take_stock,
    walk,
)
from modelkeep.hub.adopt.journal import FINISHED, SET_ASIDE, Journal, unfinished
from modelkeep.hub.adopt.plan import Adopted, Plan, total
from modelkeep.hub.adopt.sharer import Result, Sharer, is_unchanged
from modelkeep.hub.adopt.steps import entries, report, require_there, working_on
from modelkeep.hub.cache import HubCache
from modelkeep.hub.holds import in_hand
from modelkeep.hub.materialise import OWN_HUB_RUNGS, Materialiser, Placement
from modelkeep.hub.progress import Progress
from modelkeep.hub.repo import Repo
from modelkeep.hub.scan import INCOMPLETE
from modelkeep.hub.skipped import Skipped
from modelkeep.hub.tree import TreeFile
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.store import Store

_RECENT_NS = 60 * 10**9
_NO_EXIST = ".no_exist"


def merge(
    store: Store, hub: HubCache, plan: Plan, upstream: str | None, progress: Progress
) -> Adopted:
    """Let a cache become a link to the keep's hub, which has all of it.

    BusyError while a client is downloading into the cache. A crash leaves the cache as it was or as
    a link, and loadable; the same call goes on.
    """
    with working_on(store, plan.cache):
        journal = unfinished(store, plan.cache, merge=True)
        require_there(plan, journal)
        if plan.directory == plan.cache:
            swap.require_replaceable(plan.cache)
            _refuse_sealed(plan)
            _refuse_busy(store, plan.cache)
        journal = journal or Journal.begin(store, plan.cache, merge=True)
        merger = _Merger(store, hub, journal, upstream, progress)
        progress.started(len(plan.pending), total(plan.pending))
        merger.take_in(plan.stock, plan.files)
        if plan.directory == plan.cache:
            merger.require_all(plan)
        aside = journal.set_aside or swap.aside_of(plan.cache)
        if plan.directory == plan.cache:
            _refuse_busy(store, plan.cache)
            journal.note(SET_ASIDE, aside)
        if not swap.set_aside(plan.cache, aside, hub.directory):
            progress.note(f"this file system cannot swap names: `{plan.cache}` was briefly away")
        # What a client has brought between the first look and the swap.
        later = take_stock(aside)
        merger.take_in(later, [found for found in later.files.values() if merger.is_new(found)])
        freed = merger.drop(aside)
        journal.note(FINISHED)
        return merger.report(plan, aside, freed)


class _Merger:
    def __init__(
        self,
        store: Store,
        hub: HubCache,
        journal: Journal,
        upstream: str | None,
        progress: Progress,
    ) -> None:
        self._store = store
        self._hub = hub
        self._journal = journal
        self._upstream = upstream
        self._progress = progress
        own = store.roots.own_hub()
        self._materialiser = Materialiser(store, hub, own, OWN_HUB_RUNGS, note=progress.note)
        self._carrier = Linker((LinkMode.REFLINK, LinkMode.COPY))
        self._results: dict[str, Result] = {}
        self._placed: set[Digest] = set()
        self._placement = Placement()
        self._conflicts: dict[str, Skipped] = {}

    def take_in(self, stock: Inventory, files: Iterable[Found]) -> None:
        """Bring files into the store, and the repos they belong to into the hub."""
        files = list(files)
        self._journal.add(entries(self._store, stock, files))
        sharer = Sharer(
            self._store, stock.directory, self._upstream, self._progress, keep_apart=True
        )
        self._results.update((result.found.path, result) for result in sharer.share(files))
        for cached in stock.repos:
            brought = {each.digest for each in cached.blobs.values() if each is not None}
            brought |= {each.digest for each in cached.plain.values()}
            with in_hand(self._store, cached.repo, None, brought, reason="modelkeep adopt"):
                self._place(stock, cached)
            reach("adopt:merged")

    def require_all(self, plan: Plan) -> None:
        """Raise UsageError where a file would no longer load once the link is there."""
        for result in self._results.values():
            path = plan.directory / result.found.path
            if result.held or result.corrupt or not path.exists():
                continue
            raise UsageError(
                f"`{plan.cache}` stays as it is: the keep cannot take `{path}`: {result.reason}",
                hint="adopt it without --merge; what was begun goes back by"
                f" modelkeep adopt --undo {quote(str(plan.cache))}",
                path=path,
            )
        corrupt = {
            plan.directory / result.found.path
            for result in self._results.values()
            if result.corrupt
        }
        left = loadable.stranded(plan.stock, self._hub, corrupt)
        loadable.refuse(plan.cache, plan.stock, left, begun=True)

    def is_new(self, found: Found) -> bool:
        """Tell whether a file was not looked at yet as it is now."""
        known = self._results.get(found.path)
        if known is None:
            return True
        return not known.shared and not is_unchanged(known.found, found.status)

    def drop(self, aside: Path) -> int:
        """Remove what the hub has now from the old folder; return the bytes that gives back.

        A small file gives nothing back: the hub has a copy of it.
        """
        freed = 0
        for name, result in self._results.items():
            path = aside / name
            try:
                status = path.lstat()
            except OSError:
                continue  # dropped by a run that was cut short
            if result.found.digest not in self._placed:
                continue
            stored = durable.is_inode(self._store.path(result.found.digest), status)
            if not stored and not is_unchanged(result.found, status):
                continue
            if durable.remove(path) and status.st_nlink == 1 and status.st_size >= COPY_BELOW:
                freed += allocated_bytes(status)
            reach("adopt:dropped")
        return freed

    def report(self, plan: Plan, aside: Path, freed: int) -> Adopted:
        """Say what the whole merge did."""
        found = report(plan, list(self._results.values()), (), self._journal)
        freed += found.bytes_freed
        shared = [result.found for result in self._results.values() if result.held]
        return replace(
            found,
            bytes_shared=total(shared),
            bytes_freed=max(0, freed),
            skipped=(*found.skipped, *self._conflicts.values()),
            set_aside=aside,
        )

    def _held(self, found: Found | None) -> bool:
        result = self._results.get(found.path) if found else None
        return result is not None and result.held

    def _place(self, stock: Inventory, cached: CachedRepo) -> None:
        repo = cached.repo
        blobs = {
            name: TreeFile(name, found.status.st_size, found.digest, "")
            for name, found in cached.blobs.items()
            if found is not None and self._held(found)
        }
        standing = {
            where: TreeFile(where[1], found.status.st_size, found.digest, "")
            for where, found in cached.plain.items()
            if self._held(found)
        }
        wanted = [*blobs.values(), *standing.values()]
        if wanted and self._materialiser.place_blobs(repo, wanted, self._placement):
            raise BusyError(f"`{repo}` is being removed from the keep", hint="run adopt again")
        for file in wanted:
            self._store.mark_used(file.digest)
            self._placed.add(file.digest)
        for commit, files in cached.snapshots.items():
            held = [
                replace(blobs[name], path=path) for path, name in files.items() if name in blobs
            ]
            held += [file for (its, _), file in standing.items() if its == commit]
            self._write_snapshot(repo, commit, held)
            self._carry(stock, cached, commit)
            if commit in cached.trees and self._hub.tree(repo, commit) is None:
                self._hub.write_tree(repo, commit, cached.trees[commit])
        self._merge_refs(cached)
        self._merge_absences(stock, repo)
        if cached.snapshots:
            self._hub.make_lock_folder(repo)

    def _write_snapshot(self, repo: Repo, commit: str, files: list[TreeFile]) -> None:
        top = self._hub.snapshot(repo, commit)
        new = []
        for file in files:
            mine = top / file.path
            if not mine.exists():
                new.append(file)
            elif not mine.is_symlink() and hash_file(mine, file.digest.algorithm)[0] != file.digest:
                path = str(self._journal.cache / mine.relative_to(self._hub.directory))
                self._conflicts[path] = Skipped(path, f"the keep's own, edited `{mine}` stays")
        if new:
            self._hub.write_snapshot(repo, commit, new)

    def _carry(self, stock: Inventory, cached: CachedRepo, commit: str) -> None:
        """Let files that the store cannot name stand in the hub as they are.

        Their blobs are not named by a checksum, or nobody noted what they should be.
        """
        folder, target = stock.directory / cached.repo.folder, self._hub.folder(cached.repo)
        for path, name in cached.snapshots[commit].items():
            pointer = target / "snapshots" / commit / path
            if name is None:
                if (commit, path) not in cached.plain:
                    self._bring(cached.repo, folder / "snapshots" / commit / path, pointer)
            elif Digest.from_etag(name) is None:
                self._bring(cached.repo, folder / "blobs" / name, target / "blobs" / name)
                if not os.path.lexists(pointer):
                    self._make_folder_of(cached.repo, pointer)
                    pointer.symlink_to("../" * (path.count("/") + 2) + f"blobs/{name}")

    def _bring(self, repo: Repo, file: Path, target: Path) -> None:
        self._make_folder_of(repo, target)
        if os.path.lexists(target):
            return
        try:
            mode = file.lstat().st_mode
            if stat.S_ISREG(mode):
                self._carrier.place(file, target, mode=stat.S_IMODE(mode))
        except (FileExistsError, FileNotFoundError):
            return  # a client was quicker, or removed it

    def _merge_refs(self, cached: CachedRepo) -> None:
        """Let the cache's branches stand where the hub has none; the hub's own stay."""
        repo = cached.repo
        known = self._hub.refs(repo)
        for name, commit in cached.refs.items():
            mine = known.get(name)
            if mine == commit:
                continue
            if mine is not None and self._hub.snapshot(repo, mine).is_dir():
                path = str(self._journal.cache / repo.folder / "refs" / name)
                why = f"the keep's own `{name}` stays at {mine[:12]}; {commit[:12]} is kept, too"
                self._conflicts[path] = Skipped(path, why)
            elif self._hub.snapshot(repo, commit).is_dir():
                self._hub.write_ref(repo, name, commit)

    def _merge_absences(self, stock: Inventory, repo: Repo) -> None:
        """Keep the notes of which files a commit lacks: loaders without a network need them."""
        top = stock.directory / repo.folder / _NO_EXIST
        for path in walk(top):
            target = self._hub.folder(repo) / _NO_EXIST / path.relative_to(top)
            if not os.path.lexists(target):
                self._make_folder_of(repo, target)
                with explained("noting a missing file", target), suppress(FileExistsError):
                    target.touch(exist_ok=False)  # follows no link

    def _make_folder_of(self, repo: Repo, target: Path) -> None:
        self._hub.make_folder(repo, *target.parent.relative_to(self._hub.folder(repo)).parts)


def _refuse_sealed(plan: Plan) -> None:
    """Raise AccessError where the files cannot leave the old folder, nor come back."""
    for folder in sorted({(plan.directory / found.path).parent for found in plan.files}):
        if not os.access(folder, os.W_OK):
            raise AccessError(
                f"`{folder}` is read-only",
                hint=f"chmod -R u+w {quote(str(plan.cache))}, or leave out --merge",
                path=folder,
            )


def _refuse_busy(store: Store, cache: Path) -> None:
    """Raise BusyError while a client downloads into a cache."""
    busy = f"a client is downloading into `{cache}`"
    hint = "run adopt --merge again when that has ended; adopt without --merge can run beside it"
    shared = (path for path in walk(cache / SHARED) if path.suffix == ".lock")
    for lock in (*walk(cache / ".locks"), *shared):
        try:
            with hold(lock, timeout=0):
                pass
        except BusyError as error:
            raise BusyError(busy, hint=hint, path=lock) from error
    now = now_ns(store.layout.tmp)
    for folder in sorted(cache.glob("*/blobs")):
        for path in walk(folder):
            if not path.name.endswith(INCOMPLETE):
                continue
            try:
                written = path.lstat().st_mtime_ns
            except FileNotFoundError:
                continue
            if now - written < _RECENT_NS:
                raise BusyError(busy, hint=hint, path=path)


def resumable(store: Store, names: Iterable[Path]) -> Journal | None:
    """Return the journal of a merge that was cut short after the cache was replaced."""
    for name in names:
        journal = unfinished(store, name, merge=True)
        if journal is not None and journal.set_aside is not None:
            return journal
    return None
