"""A keep as a place: where it is, what it was made as, and how one is opened or made."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Self

from modelkeep import settings as settings_module
from modelkeep.errors import (
    AccessError,
    NotFoundError,
    ReadOnlyError,
    SettingsError,
    UsageError,
)
from modelkeep.fs import accounts, durable, sharing
from modelkeep.fs.oserrors import explained
from modelkeep.fs.probe import is_read_only
from modelkeep.hub.cache import HubCache
from modelkeep.settings import Decided, KeepSettings
from modelkeep.store.layout import StoreLayout
from modelkeep.store.store import Mode, Store

_STORE = "store"
_HUB = "hub"
_SETTINGS_MODE: dict[Mode, int] = {"private": 0o644, "group": 0o664}


class OpenKeep:
    """An opened keep, without verbs."""

    def __init__(self, directory: Path, store: Store, settings: KeepSettings) -> None:
        self.directory = directory
        self.store = store
        self.settings = settings
        self.hub = HubCache(directory / _HUB)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.directory)!r})"

    @classmethod
    def open(cls, directory: str | os.PathLike[str] | None = None) -> Self:
        """Open a keep: the given one, else MODELKEEP_HOME, else the default place.

        Raises NotFoundError where there is none, UnknownFormatError for a keep of another format,
        AccessError where the caller is not let in, or a member of the group has put a link in the
        place of a folder.
        """
        path = Path(settings_module.keep_directory(directory).value)
        try:
            store = Store.open(path / _STORE)
        except FileNotFoundError as error:
            _refuse_dangling(path)
            raise NotFoundError(
                f"there is no keep at `{path}`",
                hint=f"start one: modelkeep init {quote(str(path))}, or pull something",
                path=path,
            ) from error
        except AccessError as error:
            error.hint = sharing.what_is_lacking(path) or error.hint
            raise
        if store.mode == "group":
            for folder in (path / _HUB, *store.layout.fixed(), *store.layout.changing()):
                sharing.refuse_planted(path, folder)
        return cls(path, store, settings_module.read_keep_settings(path))

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str] | None = None,
        *,
        mode: Mode | None = None,
        group: str | None = None,
    ) -> Self:
        """Make a keep, private unless `mode` says otherwise, or open the one that is there.

        A directory that holds something else is refused. `group` names the group of a group keep;
        the caller's own where it is left out. AccessError, and nothing is made, where the caller
        may not give it a keep. A crash leaves something the same call completes.
        """
        path = Path(settings_module.keep_directory(directory).value)
        with explained("looking at", path):
            there = (path / _STORE / "STORE.json").exists()
        if there:
            keep = cls.open(path)
            if mode not in (None, keep.store.mode):
                raise SettingsError(
                    f"`{path}` is a {keep.store.mode} keep already",
                    hint="choose another directory, or leave out --mode",
                    path=path,
                )
            if group is not None and not (keep.group and _is_of(path, group)):
                raise SettingsError(
                    f"`{path}` is a keep of the group `{keep.group}` already"
                    if keep.group
                    else f"`{path}` is a private keep already",
                    hint="choose another directory, or leave out --group",
                    path=path,
                )
            return keep
        mode = mode or "private"
        _refuse_dangling(path)
        _refuse_strangers(path)
        settings = KeepSettings(mode=mode)
        hub = HubCache(path / _HUB)
        if mode == "group":
            from modelkeep.keep import membership

            gid = membership.chosen(group)
            settings = replace(settings, group=accounts.group(gid))
            durable.make_dirs(path, inherit=False)
            membership.give(path.resolve(), gid)
            hub.create()
            sharing.share(hub.directory)
        else:
            hub.create()
        file = path / settings_module.KEEP_FILE
        if not file.exists():
            text = settings_module.keep_settings_text(settings)
            durable.write_bytes(file, text.encode(), mode=_SETTINGS_MODE[mode])
        store = Store.create(path / _STORE, mode)
        store.roots.own_hub()
        return cls(path, store, settings_module.read_keep_settings(path))

    @classmethod
    def open_or_create(cls, directory: str | os.PathLike[str] | None = None) -> Self:
        """Open the keep, making a private one where there is none."""
        try:
            return cls.open(directory)
        except NotFoundError:
            return cls.create(directory)

    @classmethod
    def foreseen(cls, directory: str | os.PathLike[str] | None = None) -> Self:
        """Open the keep; where there is none, return what `open_or_create` would make.

        Nothing is made: plans can be drawn up with it, and nothing can be carried out.
        """
        try:
            return cls.open(directory)
        except NotFoundError:
            path = Path(settings_module.keep_directory(directory).value)
            _refuse_dangling(path)
            _refuse_strangers(path)
            store = Store(StoreLayout(path / _STORE), {"id": "", "mode": "private"})
            return cls(path, store, KeepSettings(mode="private"))

    @property
    def read_only(self) -> bool:
        """True where this caller cannot write into the keep."""
        return is_read_only(self.store.layout.tmp)

    @property
    def group(self) -> str | None:
        """The group of a group keep, which is that of its folder; None for a private keep."""
        if self.store.mode == "private":
            return None
        return accounts.group(self._gid())

    @property
    def endpoint(self) -> Decided | None:
        """The endpoint to fetch from and what decided it; None for the client's default."""
        return settings_module.endpoint(self.settings)

    def require_writable(self, *, elsewhere: bool = False) -> None:
        """Raise ReadOnlyError where this caller cannot write into the keep.

        `elsewhere`: what he wants to do serves him in another keep as well.
        """
        if self.read_only:
            other = "use a keep of your own: --keep DIR or MODELKEEP_HOME"
            raise ReadOnlyError(
                f"`{self.directory}` cannot be written by you",
                hint=sharing.what_is_lacking(self.directory)
                or (other if elsewhere else self._who_writes()),
                path=self.directory,
            )

    def _who_writes(self) -> str:
        with explained("looking at", self.directory):
            if os.statvfs(self.directory).f_flag & os.ST_RDONLY:
                return "it is mounted read-only here: go to where it can be written"
            owner = self.directory.stat().st_uid
        if owner == os.geteuid():
            return "see what is wrong: modelkeep doctor keep"
        return f"ask {accounts.user(owner)}, whose keep it is"

    def _gid(self) -> int:
        with explained("looking at", self.directory):
            return self.directory.stat().st_gid


def _refuse_dangling(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise NotFoundError(
            f"`{path}` is a link to `{path.readlink()}`, which is not there",
            hint="mount or make what it points to, or remove the link",
            path=path,
        )


def _refuse_strangers(path: Path) -> None:
    """Refuse a place that holds something else, unless it is a keep that was being made."""
    try:
        with explained("looking at", path):
            strangers = {
                entry.name
                for entry in path.iterdir()
                if entry.name not in (_STORE, _HUB, settings_module.KEEP_FILE)
                and not entry.name.startswith(durable.TEMPORARY)
            }
    except FileNotFoundError:
        return
    if strangers:
        raise UsageError(
            f"`{path}` is not empty and not a keep: it holds `{min(strangers)}`",
            hint="choose a new directory",
            path=path,
        )


def _is_of(path: Path, group: str) -> bool:
    from modelkeep.keep import membership

    return membership.is_of(path, group)
