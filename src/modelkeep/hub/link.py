"""Gives what the keep has to somebody else: another HF cache, or a plain folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import BusyError, NotFoundError, UsageError
from modelkeep.fs import durable
from modelkeep.fs.links import Linker, LinkMode
from modelkeep.fs.oserrors import explained
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.cache import HubCache
from modelkeep.hub.held import Held
from modelkeep.hub.materialise import FOREIGN_RUNGS, Materialiser, Placement
from modelkeep.hub.tree import TreeFile
from modelkeep.store.condemned import wait_out
from modelkeep.store.digest import hash_file
from modelkeep.store.store import Store

_PLAIN_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link did. Sizes are bytes; `modes` counts files by how they got there.

    `reasons` tells why a better link mode was not used.
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
    for caches that will not outlive it.
    """
    target = HubCache(cache)
    if target.directory.exists() and not target.directory.is_dir():
        raise UsageError(f"`{cache}` is not a folder", path=cache)
    target.create()
    rungs = list(FOREIGN_RUNGS)
    if symlink:
        rungs.insert(-1, LinkMode.SYMLINK)
    materialiser = Materialiser(store, target, store.roots.register(cache), rungs)
    placement = Placement()
    try:
        if lacking := materialiser.place_blobs(held.repo, held.files, placement):
            raise _gone(held, lacking[0])
        materialiser.finish(held.repo, held.commit, held.files, tree=held.tree, refs=held.refs)
    except FileNotFoundError as error:
        raise BusyError(
            f"`{held.repo}` is being removed from `{cache}`", hint="run link again", path=cache
        ) from error
    return _linked(held, cache.resolve(), placement)


def to_folder(store: Store, held: Held, folder: Path, *, hardlink: bool = False) -> Linked:
    """Put a revision's files into a plain folder under their own names.

    Reflinks or copies, writable by their owner, since programs overwrite such files in place;
    `hardlink` shares the store's own inodes instead, read-only. Files that differ are refused
    before anything is written.
    """
    _refuse_strangers(held.files, folder)
    rungs = (LinkMode.REFLINK, LinkMode.COPY)
    linker = Linker((LinkMode.HARDLINK, *rungs) if hardlink else rungs)
    placement = Placement()
    for file in held.files:
        target = folder / file.path
        durable.make_dirs(target.parent)
        wait_out(store, file.digest)
        try:
            store.describe(file.digest, None)
            placed = linker.place(store.path(file.digest), target, mode=_PLAIN_MODE, replace=True)
        except FileNotFoundError as error:
            raise _gone(held, file) from error
        reach("link:placed")
        placement.add(file, placed)
        store.mark_used(file.digest)
    return _linked(held, folder.resolve(), placement)


def _refuse_strangers(files: Sequence[TreeFile], folder: Path) -> None:
    for file in files:
        target = folder / file.path
        with explained("looking at", target):
            if target.is_dir() or (target.is_symlink() and not target.exists()):
                raise UsageError(
                    f"`{target}` is in the way", hint="choose an empty folder", path=target
                )
            if target.is_file() and not _is(target, file):
                raise UsageError(
                    f"`{target}` is another file than the one in the keep",
                    hint="choose an empty folder, or remove that file",
                    path=target,
                )


def _is(target: Path, file: TreeFile) -> bool:
    if target.stat().st_size != file.size:
        return False
    return hash_file(target, file.digest.algorithm)[0] == file.digest


def _gone(held: Held, file: TreeFile) -> NotFoundError:
    return NotFoundError(
        f"`{file.path}` of `{held.repo}` is no longer in the store",
        hint=f"get it again: modelkeep pull {held.repo}@{held.commit}",
    )


def _linked(held: Held, target: Path, placement: Placement) -> Linked:
    return Linked(
        repo=held.repo.id,
        commit=held.commit,
        target=target,
        files=placement.files,
        bytes_total=placement.bytes_total,
        bytes_copied=placement.bytes_copied,
        modes={mode.value: placement.modes[mode] for mode in LinkMode},
        reasons=tuple(sorted(placement.reasons)),
    )
