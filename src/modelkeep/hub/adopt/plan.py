"""Decides what adopting a cache is going to do, from names and sizes alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from modelkeep.errors import AccessError, UsageError
from modelkeep.fs import durable
from modelkeep.fs.folders import nearest
from modelkeep.fs.links import COPY_BELOW
from modelkeep.fs.readers import Readers
from modelkeep.fs.space import allocated_bytes
from modelkeep.hub.adopt import journal as journals
from modelkeep.hub.adopt import swap
from modelkeep.hub.adopt.inventory import Found, Inventory, take_stock
from modelkeep.hub.adopt.journal import Journal
from modelkeep.hub.adopt.places import Place
from modelkeep.hub.adopt.plain import take_stock_of_folder
from modelkeep.hub.adopt.sharer import is_clone
from modelkeep.hub.skipped import Skipped
from modelkeep.store.digest import Digest
from modelkeep.store.store import Store


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with one cache.

    `files` are those it can be done with, of which `pending` are not shared yet. The numbers are
    what names and sizes promise. `journal` is that of a run that was cut short, to go on with.
    """

    cache: Path
    merge: bool
    plain: bool
    stock: Inventory
    files: tuple[Found, ...]
    pending: tuple[Found, ...]
    skipped: tuple[Skipped, ...]
    bytes_shared: int
    bytes_freed: int
    journal: Journal | None = field(repr=False)

    @property
    def directory(self) -> Path:
        """Where the files lie now: beside the cache, once a merge has replaced it by a link."""
        return self.stock.directory


@dataclass(frozen=True, slots=True)
class Adopted:
    """What adopting a cache did, or with `dry_run` would do.

    `bytes_freed` is space on the disk, the other bytes are sizes of files. `corrupt` are
    files whose bytes are not what their names say: they stay as they are. `broken` is what stock
    clients stumble over and is still there; `mended` counts what was put right. `set_aside` is
    where a merge left what a keep has no place for.
    """

    cache: Path
    merge: bool
    files: int
    bytes_total: int
    bytes_shared: int
    bytes_freed: int
    skipped: tuple[Skipped, ...]
    corrupt: tuple[Skipped, ...] = ()
    broken: tuple[Skipped, ...] = ()
    mended: int = 0
    journal: Path | None = None
    set_aside: Path | None = None
    dry_run: bool = False


def plan(
    store: Store,
    place: Place,
    *,
    merge: bool = False,
    share: bool = False,
    seen: set[Digest] | None = None,
) -> Plan:
    """Read a cache and decide. Changes nothing; the store need not be there yet.

    `share` allows that others read through the keep what they could not read before; without it
    that is an AccessError. `seen` are contents of caches that are adopted before this one.
    """
    seen = set() if seen is None else seen
    if merge and place.plain:
        raise UsageError(
            f"`{place.directory}` is a plain folder, which no client looks into for models",
            hint="leave out --merge; or make it a repo: modelkeep add DIR --as org/name",
            path=place.directory,
        )
    journal = journals.unfinished(store, place.directory, merge=merge)
    directory = place.directory
    if journal is not None:
        directory = swap.folder_of(place.directory, journal.set_aside) or directory
    stock = take_stock_of_folder(directory) if place.plain else take_stock(directory)
    files, pending, skipped = [], [], list(stock.skipped)
    shared = freed = 0
    device = nearest(store.layout.blobs).stat().st_dev
    for found in stock.files.values():
        if found.status.st_dev != device:
            if merge:
                raise UsageError(
                    f"`{place.directory}` lies on another file system than the keep",
                    hint="make a keep there, or get its repos by modelkeep pull",
                    path=directory / found.path,
                )
            path = str(directory / found.path)
            skipped.append(Skipped(path, "it lies on another file system than the keep"))
            continue
        files.append(found)
        small = found.status.st_size < COPY_BELOW
        if _is_shared(store, directory, found):
            shared += found.status.st_size
        elif small and not merge and store.has_sound(found.digest):
            pass  # its copy is the store's, and the cache keeps its own
        else:
            pending.append(found)
            shared += 0 if small else found.status.st_size
        if not small and pending[-1:] == [found]:
            if found.digest in seen or store.has(found.digest):
                freed += allocated_bytes(found.status) if found.status.st_nlink == 1 else 0
            seen.add(found.digest)
    if not share:
        _refuse_to_widen(store, place.directory, directory, files)
    return Plan(
        place.directory,
        merge,
        place.plain,
        stock,
        tuple(files),
        tuple(pending),
        tuple(skipped),
        shared,
        freed,
        journal,
    )


def preview(plan: Plan) -> Adopted:
    """Return what carrying the plan out promises."""
    return Adopted(
        cache=plan.cache,
        merge=plan.merge,
        files=len(plan.stock.files),
        bytes_total=total(plan.stock.files.values()),
        bytes_shared=plan.bytes_shared,
        bytes_freed=plan.bytes_freed,
        skipped=plan.skipped,
        broken=plan.stock.unmended(),
        dry_run=True,
    )


def total(files: Iterable[Found]) -> int:
    """Return the bytes of files."""
    return sum(found.status.st_size for found in files)


def _is_shared(store: Store, directory: Path, found: Found) -> bool:
    blob = store.path(found.digest)
    if durable.is_inode(blob, found.status):
        return True
    return store.capabilities.reflink and is_clone(directory / found.path, blob)


def _refuse_to_widen(store: Store, cache: Path, directory: Path, files: Iterable[Found]) -> None:
    """Raise AccessError where somebody could read through the keep what he cannot read now."""
    through_keep = Readers.of(nearest(store.layout.blobs))
    folders: dict[Path, Readers] = {}
    checked: set[tuple[Path, int, int]] = set()
    for found in files:
        folder = (directory / found.path).parent
        status = found.status
        key = (folder, status.st_mode, status.st_gid)
        if durable.is_inode(store.path(found.digest), status) or key in checked:
            continue
        checked.add(key)
        here = folders.setdefault(folder, Readers.of(folder))
        now = here.through(status.st_mode, status.st_gid)
        who = through_keep.beyond([now]) or here.beyond([now])
        if who is not None:
            raise AccessError(
                f"`{folder}` is private, and {who} could read it through the keep"
                f" `{store.layout.root.parent}`",
                hint=f"if that is meant: modelkeep adopt --share {quote(str(cache))}",
                path=folder,
            )
