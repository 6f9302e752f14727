"""Gives a cache back as it was before it was adopted: content, layout, modes, times, links.

Every entry of the journal is compared with what stands there now, so undoing is right after a crash
of either, and may be repeated. Afterwards no file of the cache shares an inode with the store.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import AccessError, NotFoundError
from modelkeep.fs import durable
from modelkeep.fs.links import Linker, LinkMode
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import require_free
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.adopt import journal as journals
from modelkeep.hub.adopt import swap
from modelkeep.hub.adopt.journal import FILE, FOLDER, LINK, NEW, UNDONE, Entry, Journal
from modelkeep.hub.adopt.places import as_owner
from modelkeep.hub.adopt.scratch import built, named, opened
from modelkeep.hub.adopt.sharer import is_clone
from modelkeep.hub.adopt.steps import working_on
from modelkeep.hub.progress import Progress
from modelkeep.hub.repo import Repo
from modelkeep.hub.skipped import Skipped
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.store import Store


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What giving one cache back takes: `bytes_needed` on the disk for bytes of its own.

    `restored` are the entries whose files are made anew, each with the file to make it from; `lost`
    is what the store has no longer, or only damaged.
    """

    journal: Journal
    directory: Path
    restored: tuple[tuple[Entry, Path], ...]
    skipped: tuple[Skipped, ...]
    lost: tuple[Skipped, ...]
    bytes_needed: int


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did, or with `dry_run` would do: files with bytes of their own again."""

    cache: Path
    files: int
    bytes_restored: int
    skipped: tuple[Skipped, ...]
    dry_run: bool = False


def to_undo(store: Store, given: list[list[Path]]) -> list[Journal]:
    """Return the journals to undo, the newest first: all of some caches, or this user's latest.

    Each cache is given by the paths it may have had. NotFoundError where there is none.
    """
    known = [journal for journal in journals.journals(store) if not journal.undone]
    if not given:
        own = [journal for journal in known if journal.uid == os.geteuid()]
        if not own:
            raise NotFoundError(
                "you have adopted nothing into this keep that is not undone",
                hint="name a cache: modelkeep adopt --undo CACHE",
            )
        return own[-1:]
    chosen = []
    for paths in given:
        of_cache = [journal for journal in known if journal.cache in paths]
        if not of_cache:
            raise NotFoundError(
                f"`{paths[0]}` was not adopted into this keep, or was given back",
                hint="name the cache as it was adopted",
                path=paths[0],
            )
        chosen += of_cache
    return sorted(chosen, key=lambda journal: journal.folder.name, reverse=True)


def plan(store: Store, journal: Journal, newer: Iterable[Journal] = ()) -> UndoPlan:
    """Look at what is there and decide. Changes nothing. AccessError for somebody else's cache.

    `newer` are journals that are going to be undone before this one.
    """
    if journal.uid != os.geteuid():
        raise AccessError(
            f"`{journal.cache}` was adopted by uid {journal.uid}",
            hint=f"let them run it: {as_owner(journal.uid, 'adopt --undo', journal.cache)}",
            path=journal.cache,
        )
    directory = _directory([journal, *newer])
    restored, skipped, lost = [], [], []
    for entry in journal.entries.values():
        path = directory / entry.path
        if entry.kind != FILE or entry.digest is None:
            continue
        digest = Digest.parse(entry.digest)
        blob = store.path(digest)
        try:
            now = path.lstat()
        except FileNotFoundError:
            if directory == journal.cache:
                skipped.append(Skipped(str(path), "it was removed since"))
            elif _is_sound(store, digest):
                restored.append((entry, blob))
            else:
                lost.append(_lost(directory, entry.path))
            continue
        if entry.shared:
            continue  # it shared the store's inode before, and goes on doing so
        if durable.is_inode(blob, now) or _has_clone(store, entry, path, blob):
            if _is_sound(store, digest):
                restored.append((entry, path))
            else:
                hint = "it is damaged: modelkeep verify --repair, then undo again"
                lost.append(Skipped(str(path), hint))
        elif not entry.is_same_file(now) and not entry.looks_like(now):
            skipped.append(Skipped(str(path), "it was replaced since; left as it is"))
    own = [(entry, source) for entry, source in restored if not entry.shared]
    needed = 0 if store.capabilities.reflink else _bytes(own)
    return UndoPlan(journal, directory, tuple(restored), tuple(skipped), tuple(lost), needed)


def undo(store: Store, agreed: UndoPlan, progress: Progress) -> Undone:
    """Give a cache back. NotFoundError, and nothing is changed, where something of it is lost.

    What stands there now counts, not what stood there when somebody agreed.
    """
    journal = agreed.journal
    with working_on(store, journal.cache):
        decided = plan(store, journal)
        _refuse_lost(decided)
        needed, doing = decided.bytes_needed, f"giving `{journal.cache}` its files back"
        require_free(decided.directory, needed, doing=doing)
        progress.started(len(decided.restored), _bytes(decided.restored))
        groups: dict[tuple[int, int], Path] = {}
        for entry, source in decided.restored:
            path = decided.directory / entry.path
            twin = groups.get((entry.device, entry.inode)) if entry.links > 1 else None
            if entry.shared or twin is not None:
                _link(store, twin or source, path)
            else:
                _restore(store, source, path, entry, progress)
                groups[entry.device, entry.inode] = path
            reach("undo:restored")
        _restore_the_rest(store, decided)
        if journal.set_aside is not None:
            swap.put_back(journal.cache, journal.set_aside)
        _forget(store, journal)
        journal.note(UNDONE)
        shutil.rmtree(journal.folder)
    return undone(decided)


def _is_sound(store: Store, digest: Digest) -> bool:
    """Tell whether the store's bytes are right; reads them where another time makes it doubtful."""
    info = store.info(digest)
    if info is None or info.intact is not False:
        return info is not None
    with explained("hashing", info.path):
        return hash_file(info.path, digest.algorithm)[0] == digest


def _refuse_lost(plan: UndoPlan) -> None:
    if plan.lost:
        first = plan.lost[0]
        raise NotFoundError(
            f"{len(plan.lost)} file(s) of `{plan.journal.cache}` are no longer in the keep, or"
            f" damaged, such as `{first.path}`",
            hint=first.reason,
            path=first.path,
        )


def undone(plan: UndoPlan, *, dry_run: bool = False) -> Undone:
    """Return what carrying the plan out gives back."""
    return Undone(
        plan.journal.cache,
        len(plan.restored),
        _bytes(plan.restored),
        plan.skipped,
        dry_run,
    )


def _directory(journals: Iterable[Journal]) -> Path:
    """Return where the files of the first journal's cache lie now; the others are newer ones.

    NotFoundError where that is another folder.
    """
    first, *newer = journals
    for journal in (first, *newer):
        place = swap.folder_of(first.cache, journal.set_aside)
        if place is not None and place.stat().st_ino == first.inode:
            return place
    raise NotFoundError(
        f"`{first.cache}` is no longer the folder that was adopted",
        hint=f"what it held is noted in `{first.folder}`",
        path=first.cache,
    )


def _restore(store: Store, source: Path, path: Path, entry: Entry, progress: Progress) -> None:
    """Give a path bytes of its own, with the mode, owner and times it had, by one rename."""
    durable.make_dirs(path.parent)
    linker = Linker((LinkMode.REFLINK, LinkMode.COPY))
    with (
        built(store, linker, source, mode=0o600, progress=progress.advanced) as (scratch, _),
        explained("giving a file back", path),
    ):
        with opened(scratch) as descriptor:
            status = os.fstat(descriptor)
            if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
                os.fchown(descriptor, entry.uid, entry.gid)
            durable.set_mode(descriptor, entry.mode)
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
        reach("undo:copied")
        durable.rename(scratch, path)


def _link(store: Store, twin: Path, path: Path) -> None:
    with named(store) as scratch, explained("giving a file back", path):
        os.link(twin, scratch)
        durable.rename(scratch, path)


def _restore_the_rest(store: Store, plan: UndoPlan) -> None:
    """Modes of files that were only sealed, files that were not there, and the times of folders."""
    directory, entries = plan.directory, plan.journal.entries
    for entry in entries.values():
        path = directory / entry.path
        if entry.kind == NEW:
            _remove_new(path)
        elif entry.kind == LINK:
            _restore_link(store, path, entry)
        elif entry.kind == FILE:
            status = path.lstat() if path.exists() else None
            if status and entry.is_same_file(status) and stat.S_IMODE(status.st_mode) != entry.mode:
                path.chmod(entry.mode)
    folders = [entry for entry in entries.values() if entry.kind == FOLDER]
    for entry in sorted(folders, key=lambda entry: entry.path, reverse=True):
        path = directory / entry.path
        if path.is_dir():
            durable.sync_dir(path)
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))


def _restore_link(store: Store, path: Path, entry: Entry) -> None:
    """Let a link that led to nothing stand again where adopting put a file."""
    if not path.is_symlink() and path.exists() and not durable.is_sealed(path.lstat()):
        return  # a client has put it there since
    if not path.is_symlink():
        with named(store) as scratch, explained("giving a link back", path):
            scratch.symlink_to(entry.target)
            durable.rename(scratch, path)
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _remove_new(path: Path) -> None:
    """Remove what adopting put there; what a client has put there since is writable."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            with suppress(OSError):  # something else is in it now
                path.rmdir()
        elif stat.S_ISREG(status.st_mode) and durable.is_sealed(status):
            durable.remove(path)


def _has_clone(store: Store, entry: Entry, path: Path, blob: Path) -> bool:
    """Tell whether a file was replaced by a clone, whose times may be the clone's own."""
    now = path.lstat()
    as_before = entry.is_same_file(now) or entry.looks_like(now)
    return store.capabilities.reflink and not as_before and is_clone(path, blob)


def _forget(store: Store, journal: Journal) -> None:
    """Take the root away, unless the cache uses the store in other ways, too."""
    for root in store.roots:
        if root.directory == journal.cache and root.is_reachable():
            references, _ = root.references()
            if not any(used.is_alive(store.path(used.digest)) for used in references):
                store.roots.forget(root)


def _lost(directory: Path, name: str) -> Skipped:
    """Say which revisions to pull, as the snapshots tell that are still there."""
    folder = directory / Path(name).parts[0]
    repo, snapshots = Repo.from_folder(folder.name), folder / "snapshots"
    wanted = ["REPO"]
    if repo is not None and snapshots.is_dir():
        wanted = [f"{repo}@{path.name}" for path in sorted(snapshots.iterdir())]
    what = f"modelkeep pull {' '.join(wanted)}"
    return Skipped(str(directory / name), f"bring them back first: {what}, then undo again")


def _bytes(restored: Iterable[tuple[Entry, Path]]) -> int:
    """Return the bytes of files that are made anew, names of one inode counted once."""
    sizes = {
        (entry.device, entry.inode) if entry.links > 1 else entry.path: entry.size
        for entry, _ in restored
    }
    return sum(sizes.values())
