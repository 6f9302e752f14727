"""What the doctor looks at, each part read once and only when a check asks for it.

Works on keeps that do not open: a part that cannot be had raises `Unavailable`, which says what
stands in the way, so that one cause is reported once.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from modelkeep import settings as settings_module
from modelkeep.errors import ModelkeepError
from modelkeep.fs import clock, probe
from modelkeep.fs.answering import Patience, ask
from modelkeep.fs.folders import entries
from modelkeep.fs.probe import Capabilities
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo
from modelkeep.settings import Decided, KeepSettings
from modelkeep.store.layout import StoreLayout
from modelkeep.store.store import Store

if TYPE_CHECKING:
    from modelkeep.hub.listing import Listing


class Unavailable(Exception):  # noqa: N818 - no failure: a check that cannot be made is skipped
    """What a check needs is not to be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory of the keep and its status. `fixed`: no name in it ever changes."""

    path: str
    status: os.stat_result
    fixed: bool = False

    @property
    def mode(self) -> int:
        """Its permissions."""
        return stat.S_IMODE(self.status.st_mode)


@dataclass
class Subject:
    """A keep, or the place of one, seen from an environment.

    `now` is this machine's clock in POSIX seconds, `kernel` where its switches are found.
    """

    place: Decided
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    now: Callable[[], float] = time.time
    kernel: Path = Path("/proc/sys")

    @property
    def directory(self) -> Path:
        """The keep's directory, there or not."""
        return Path(self.place.value)

    @cached_property
    def answers(self) -> bool:
        """Whether the file system under it answers at all; a dead mount would stop every check."""
        return all(
            there is not None for _, there in ask([self.place.value], os.path.lexists, Patience())
        )

    @cached_property
    def layout(self) -> StoreLayout:
        """The places in its store. Unavailable where there is no keep."""
        if not self.answers:
            raise Unavailable("the file system does not answer, see keep.present")
        layout = StoreLayout(self.directory / "store")
        if not os.path.isdir(layout.root):  # noqa: PTH112 - one that is closed is none, too
            raise Unavailable("there is no keep, see keep.present")
        return layout

    @property
    def hub(self) -> HubCache:
        """Its hub cache. Unavailable where there is none."""
        hub = HubCache(self.layout.root.parent / "hub")
        if not os.path.isdir(hub.directory):  # noqa: PTH112 - as above
            raise Unavailable("there is no hub, see keep.folders")
        return hub

    @cached_property
    def store(self) -> Store:
        """The store, where it opens."""
        try:
            return Store.open(self.layout.root)
        except (ModelkeepError, FileNotFoundError) as error:
            raise Unavailable("the store does not open, see keep.header") from error

    @property
    def is_group(self) -> bool:
        """Whether a group shares it."""
        return self.store.mode == "group"

    @cached_property
    def settings(self) -> KeepSettings:
        """The contents of keep.toml, where it can be read."""
        self.layout  # noqa: B018 - without a keep there are no settings
        try:
            return settings_module.read_keep_settings(self.directory)
        except (ModelkeepError, OSError) as error:
            raise Unavailable("keep.toml cannot be used, see keep.settings") from error

    @cached_property
    def is_writable(self) -> bool:
        """Whether this caller can write into it."""
        try:
            return not probe.is_read_only(self.store.layout.tmp)
        except FileNotFoundError as error:
            raise Unavailable("a folder is missing, see keep.folders") from error

    @property
    def scratch(self) -> Path:
        """A folder in which this caller can try things out."""
        if not self.is_writable:
            raise Unavailable("you cannot write here, see keep.writable")
        return self.layout.tmp

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the file system can do now."""
        return probe.probe(self.scratch)

    @cached_property
    def file_time_ns(self) -> int:
        """The time by the file system's clock."""
        return clock.now_ns(self.scratch)

    @cached_property
    def listing(self) -> Listing:
        """What the keep holds."""
        from modelkeep.hub.listing import listing

        return listing(self.store, self.hub)

    @cached_property
    def folders(self) -> tuple[Folder, ...]:
        """Every directory of the keep that can be seen, parents first; links are not followed."""
        layout = self.layout
        fixed = set(map(str, layout.fixed()))
        store = [layout.root, *layout.changing(), *layout.directories()]
        names = dict.fromkeys([str(self.directory), *map(str, store)])
        found = [Folder(name, status, name in fixed) for name, status in _directories(names)]
        hub = _directories(_below(str(self.directory / "hub")))
        return (*found, *(Folder(*each) for each in hub))

    def command(self, words: str) -> str:
        """Return a modelkeep command on this very keep."""
        keep = f" --keep {quote(self.place.value)}" if self.place.source == "option" else ""
        return f"modelkeep {words}{keep}"


def _below(top: str) -> Iterator[str]:
    """Yield a hub and the folders of its repos; blobs hold none, and what is closed shows none."""
    yield top
    for name in _subfolders(top):
        if name == ".locks" or Repo.from_folder(name):
            pending = [f"{top}/{name}"]
            while pending:
                folder = pending.pop()
                yield folder
                pending += [f"{folder}/{name}" for name in _subfolders(folder)]


def _subfolders(folder: str) -> list[str]:
    if folder.endswith("/blobs"):
        return []
    try:
        found = entries(folder)
    except OSError:
        return []
    return sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))


def _directories(names: Iterator[str] | Mapping[str, None]) -> Iterator[tuple[str, os.stat_result]]:
    for name in names:
        try:
            status = os.lstat(name)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode):
            yield name, status
