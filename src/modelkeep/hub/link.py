"""Gives what the keep has to somebody else: another HF cache, or a plain folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import BusyError, NotFoundError, ReadOnlyError, UsageError
from modelkeep.fs import durable
from modelkeep.fs.links import COPY_BELOW, Linker, LinkMode
from modelkeep.fs.oserrors import explained
from modelkeep.fs.probe import is_read_only
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.cache import HubCache
from modelkeep.hub.held import Held
from modelkeep.hub.materialise import FOREIGN_RUNGS, Materialiser, Placement
from modelkeep.hub.tree import TreeFile
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.marks import wait_out
from modelkeep.store.roots import Root
from modelkeep.store.store import Store

_PLAIN_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link did. Sizes are bytes; `modes` counts files by how they got there.

    `reasons` tells why a better link mode was not used, and what would help.
    """

    repo: str
    commit: str
    target: Path
    files: int
    bytes_total: int
    bytes_copied: int
    modes: dict[str, int]
    reasons: tuple[str, ...]


def into_cache(store: Store, held: Held, cache: Path, *, symlink: bool = False) -> Linked:
    """Let a revision appear in another stock cache, sharing inodes where the file systems allow.

    The cache is registered with the store. `symlink` also allows links that point into the keep,
    for caches that will not outlive it. Whoever cannot write the keep gets hard links, clones or
    copies without registration, for those hold by themselves; ReadOnlyError with `symlink`.
    """
    target = HubCache(cache)
    registered = not is_read_only(store.layout.tmp)
    if symlink and not registered:
        raise ReadOnlyError(
            f"`{store.layout.root.parent}` cannot be written by you, and links into it need a note"
            " there",
            hint="leave out --symlink",
            path=store.layout.root.parent,
        )
    if target.directory.exists() and not target.directory.is_dir():
        raise UsageError(f"`{cache}` is not a folder", path=cache)
    target.create()
    rungs = list(FOREIGN_RUNGS)
    if symlink:
        rungs.insert(-1, LinkMode.SYMLINK)
    root = store.roots.register(cache) if registered else _Unregistered.at(cache)
    materialiser = Materialiser(store, target, root, rungs)
    placement = Placement()
    try:
        if lacking := materialiser.place_blobs(held.repo, held.files, placement):
            raise _gone(held, lacking[0])
        materialiser.finish(held.repo, held.commit, held.files, tree=held.tree, refs=held.refs)
    except FileNotFoundError as error:
        raise BusyError(
            f"`{held.repo}` is being removed from `{cache}`", hint="run link again", path=cache
        ) from error
    notes = []
    if registered:
        notes += _way_around_copies(store, held, placement)
    else:
        notes.append("the keep cannot be written by you: the cache is not registered with it")
    return _linked(held, cache.resolve(), placement, notes)


@dataclass(frozen=True, slots=True)
class _Unregistered(Root):
    """A cache that a store does not hear of: what is put there holds by itself."""

    @classmethod
    def at(cls, cache: Path) -> _Unregistered:
        directory = cache.resolve()
        return cls("unregistered", directory, ("", ""), directory)

    def refer(self, uses: Iterable[tuple[Digest, str]]) -> None:
        """Record nothing."""

    def paths(self) -> frozenset[str]:
        return frozenset()


def _way_around_copies(store: Store, held: Held, placement: Placement) -> list[str]:
    """Say what helps where large files were copied since they are another user's."""
    sizes = {file.digest: file.size for file in held.files}
    large = [digest for digest, size in sizes.items() if size >= COPY_BELOW]
    if placement.modes[LinkMode.COPY] <= len(sizes) - len(large):
        return []
    owners = set()
    for digest in large:
        with suppress(OSError):  # a collector may take it away meanwhile
            owners.add(store.path(digest).stat().st_uid)
    owners.discard(os.geteuid())
    note = "and you may not link them: --symlink takes no space, while the keep is there"
    return [f"the files belong to uid {owner}, {note}" for owner in sorted(owners)]


def to_folder(store: Store, held: Held, folder: Path, *, hardlink: bool = False) -> Linked:
    """Put a revision's files into a plain folder under their own names.

    Reflinks or copies, writable by their owner, since programs overwrite such files in place;
    `hardlink` shares the store's own inodes instead, read-only. What differs or is in the way is
    refused, and what the store lacks is said, before anything is written.
    """
    _refuse_strangers(held.files, folder)
    for file in held.files:
        if not store.has(file.digest):
            raise _gone(held, file)
    rungs = (LinkMode.REFLINK, LinkMode.COPY)
    linker = Linker((LinkMode.HARDLINK, *rungs) if hardlink else rungs)
    placement = Placement()
    for file in held.files:
        target = folder / file.path
        durable.make_dirs(target.parent, inherit=False)
        wait_out(store.layout, file.digest)
        try:
            store.describe(file.digest, None)
            placed = linker.place(store.path(file.digest), target, mode=_PLAIN_MODE, replace=True)
        except FileNotFoundError as error:
            raise _gone(held, file) from error
        reach("link:placed")
        placement.add(file, placed)
        store.mark_used(file.digest)
    return _linked(held, folder.resolve(), placement, [])


def _refuse_strangers(files: Sequence[TreeFile], folder: Path) -> None:
    parts = {part for file in files for part in Path(file.path).parents}
    for folder_of_files in (folder / part for part in sorted(parts)):
        with explained("looking at", folder_of_files):
            if os.path.lexists(folder_of_files) and not folder_of_files.is_dir():
                raise _in_the_way(folder_of_files)
    for file in files:
        target = folder / file.path
        with explained("looking at", target):
            if os.path.lexists(target) and not target.is_file():
                raise _in_the_way(target)
            if target.is_file() and not _is(target, file):
                raise UsageError(
                    f"`{target}` is another file than the one in the keep",
                    hint="choose an empty folder, or remove that file",
                    path=target,
                )


def _in_the_way(target: Path) -> UsageError:
    return UsageError(f"`{target}` is in the way", hint="choose an empty folder", path=target)


def _is(target: Path, file: TreeFile) -> bool:
    if target.stat().st_size != file.size:
        return False
    return hash_file(target, file.digest.algorithm)[0] == file.digest


def _gone(held: Held, file: TreeFile) -> NotFoundError:
    return NotFoundError(
        f"`{file.path}` of `{held.repo}` is no longer in the store",
        hint=f"get it again: modelkeep pull {held.repo}@{held.commit}",
    )


def _linked(held: Held, target: Path, placement: Placement, notes: Iterable[str]) -> Linked:
    return Linked(
        repo=held.repo.id,
        commit=held.commit,
        target=target,
        files=placement.files,
        bytes_total=placement.bytes_total,
        bytes_copied=placement.bytes_copied,
        modes={mode.value: placement.modes[mode] for mode in LinkMode},
        reasons=(*sorted(placement.reasons), *notes),
    )
