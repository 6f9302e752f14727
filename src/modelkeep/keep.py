"""The keep: one directory, one object, every verb. What the command line calls, programs can too.

    keep = modelkeep.open()
    keep.pull("org/name")

Nothing here prints; what happened is returned, what went wrong is raised as a `ModelkeepError`.
What a verb needs is imported when it is called: most wait for nothing else than imports.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from modelkeep import settings as settings_module
from modelkeep.errors import NotFoundError, ReadOnlyError, SettingsError, UsageError
from modelkeep.fs import durable
from modelkeep.fs.oserrors import explained
from modelkeep.fs.probe import is_read_only
from modelkeep.hub import held
from modelkeep.hub import listing as listings
from modelkeep.hub.asked import asked, chosen, several
from modelkeep.hub.cache import HubCache
from modelkeep.hub.listing import Listing
from modelkeep.hub.repo import DEFAULT_REVISION, Repo, RepoType
from modelkeep.settings import Decided, KeepSettings
from modelkeep.store.store import Mode, Store

if TYPE_CHECKING:
    from modelkeep.hub.link import Linked
    from modelkeep.hub.progress import Progress
    from modelkeep.hub.pull import Pulled
    from modelkeep.hub.remove import Removal, RemovalPlan
    from modelkeep.hub.upstream import Upstream
    from modelkeep.hub.where import Where
    from modelkeep.store.verify import VerifyReport

_STORE = "store"
_HUB = "hub"


class Keep:
    """A keep that exists. Use `open` or `Keep.create`, not the constructor.

    Methods may be called from several threads, processes and nodes at once.
    """

    def __init__(self, directory: Path, store: Store, settings: KeepSettings) -> None:
        self.directory = directory
        self.store = store
        self.settings = settings
        self.hub = HubCache(directory / _HUB)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.directory)!r})"

    @classmethod
    def open(cls, directory: str | os.PathLike[str] | None = None) -> Keep:
        """Open a keep: the given one, else MODELKEEP_HOME, else the default place.

        Raises NotFoundError where there is none, UnknownFormatError for a keep of another format.
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
        return cls(path, store, settings_module.read_keep_settings(path))

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str] | None = None,
        *,
        mode: Mode | None = None,
        group: str | None = None,
    ) -> Keep:
        """Make a keep, private unless `mode` says otherwise, or open the one that is there.

        A directory that holds something else is refused. `group` names the group of a group keep;
        the caller's own where it is left out. A crash leaves something the same call completes.
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
            return keep
        mode = mode or "private"
        _refuse_dangling(path)
        _refuse_strangers(path)
        durable.make_dirs(path)
        if mode == "group":
            _share(path, group)
        hub = HubCache(path / _HUB)
        hub.create()
        if mode == "group":
            with explained("sharing the hub", hub.directory):
                hub.directory.chmod(0o2775)
        settings_file = path / settings_module.KEEP_FILE
        if not settings_file.exists():
            text = settings_module.keep_settings_text(KeepSettings(mode=mode, group=group))
            durable.write_bytes(settings_file, text.encode())
        store = Store.create(path / _STORE, mode)
        store.roots.own_hub()
        return cls(path, store, settings_module.read_keep_settings(path))

    @classmethod
    def open_or_create(cls, directory: str | os.PathLike[str] | None = None) -> Keep:
        """Open the keep, making a private one where there is none."""
        try:
            return cls.open(directory)
        except NotFoundError:
            return cls.create(directory)

    @property
    def read_only(self) -> bool:
        """True where this caller cannot write into the keep."""
        return is_read_only(self.store.layout.tmp)

    @property
    def endpoint(self) -> Decided | None:
        """The endpoint to fetch from and what decided it; None for the client's default."""
        return settings_module.endpoint(self.settings)

    def pull(
        self,
        repo: str | Repo,
        revision: str | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the Hub's word
        include: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        force: bool = False,
        limit_rate: int | None = None,
        xet: str = "auto",
        token: str | None = None,
        progress: Progress | None = None,
    ) -> Pulled:
        """Make a revision of a repo complete in the keep: `org/name[@revision]`.

        `include` and `exclude` are one or more file patterns as of `hf download`; `limit_rate` is
        bytes a second; `force` lets a branch made by `add` follow upstream. `xet` is `auto`,
        `always` or `never`: whether the Xet library fetches what upstream has in Xet; only ranges
        resume.
        """
        from modelkeep.hub import pull as pulling
        from modelkeep.hub.progress import Progress
        from modelkeep.hub.xet import XetUse

        name, wanted = asked(repo, revision, type)
        self._require_writable()
        progress = progress or Progress()
        upstream = self.upstream(token=token, progress=progress)
        request = pulling.Request(
            name,
            wanted or DEFAULT_REVISION,
            include=several(include),
            exclude=several(exclude),
            force=force,
            limit_rate=limit_rate,
            xet=chosen(XetUse, "xet", xet),
        )
        return pulling.pull(self.store, self.hub, upstream, request, progress)

    def upstream(self, *, token: str | None = None, progress: Progress | None = None) -> Upstream:
        """Return the endpoint this keep fetches from."""
        from modelkeep.hub.upstream import Upstream

        decided = self.endpoint
        return Upstream(
            decided.value if decided else None,
            token=token,
            on_wait=progress.waiting if progress else None,
        )

    def add(
        self,
        folder: str | os.PathLike[str],
        repo: str | Repo,
        revision: str | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the Hub's word
        force: bool = False,
        progress: Progress | None = None,
    ) -> Pulled:
        """Make a local model folder a repo of the keep, loadable by its name.

        `revision` is the branch or tag that stands for it afterwards; `force` lets one that came
        from upstream follow the folder.
        """
        from modelkeep.hub import add as adding
        from modelkeep.hub.progress import Progress

        name, wanted = asked(repo, revision, type)
        self._require_writable()
        return adding.add(
            self.store,
            self.hub,
            Path(folder),
            name,
            wanted or DEFAULT_REVISION,
            progress or Progress(),
            any_folder=name.type is not RepoType.MODEL,
            force=force,
        )

    def link(
        self,
        repo: str | Repo,
        revision: str | None = None,
        *,
        into: str | os.PathLike[str] | None = None,
        to: str | os.PathLike[str] | None = None,
        type: str | None = None,  # noqa: A002 - the Hub's word
        hardlink: bool = False,
        symlink: bool = False,
    ) -> Linked:
        """Give a revision to another HF cache (`into`) or to a plain folder (`to`).

        `hardlink` lets a plain folder share the store's inodes; `symlink` lets a cache hold links
        into the keep where nothing better works.
        """
        from modelkeep.hub import link as linking

        if (into is None) == (to is None):
            raise UsageError("say where to: either --into CACHE or --to DIR")
        name, wanted = asked(repo, revision, type)
        target = held.find(self.hub, name, wanted)
        if not target.files:
            raise NotFoundError(
                f"`{target.repo}` was brought by another client, and what it holds is not known",
                hint=f"settle it: modelkeep pull {target.repo}",
            )
        if into is not None:
            if hardlink:
                raise UsageError("--hardlink goes with --to; a cache is linked that way anyhow")
            return linking.into_cache(self.store, target, Path(into), symlink=symlink)
        if symlink:
            raise UsageError("--symlink goes with --into", hint="leave it out for a plain folder")
        assert to is not None
        return linking.to_folder(self.store, target, Path(to), hardlink=hardlink)

    def is_complete(self, repo: str | Repo, revision: str | None = None) -> bool:
        """Tell whether every file of a revision is here, so that it loads without a network."""
        name, wanted = asked(repo, revision, None)
        commit = self.hub.resolve(name, wanted or DEFAULT_REVISION)
        return commit is not None and held.is_complete(self.store.layout, self.hub, name, commit)

    def list(self, patterns: str | Iterable[str] = ()) -> Listing:
        """List the keep, or the repos that match any of the shell patterns."""
        patterns = several(patterns)
        if not patterns:
            return listings.listing(self.store, self.hub)
        repos = [
            repo for repo in self.hub.repos() if any(repo.matches(pattern) for pattern in patterns)
        ]
        return listings.listing(self.store, self.hub, repos)

    def show(self, repo: str | Repo) -> Listing:
        """List one repo; NotFoundError where the keep lacks it, or the revision that is named."""
        name, wanted = asked(repo, None, None)
        if wanted is not None:
            held.find(self.hub, name, wanted)
        found = listings.listing(self.store, self.hub, [name])
        if not found.repos:
            raise NotFoundError(
                f"`{name}` is not in the keep", hint=f"get it: modelkeep pull {name}"
            )
        return found

    def where(self, repo: str | Repo, file: str | None = None) -> Where:
        """Tell which files a stock loader with this environment opens, and what decided it."""
        from modelkeep.hub.where import locate

        name, wanted = asked(repo, None, None)
        decided = settings_module.loader_cache()
        return locate(self.store, self.hub, name, wanted, file, decided)

    def plan_removal(self, repo: str | Repo, revision: str | None = None) -> RemovalPlan:
        """Decide what removing a repo, or one revision, takes away. Changes nothing."""
        return self.plan_removals([(repo, revision)])

    def plan_removals(self, targets: Iterable[tuple[str | Repo, str | None]]) -> RemovalPlan:
        """Decide what removing several repos or revisions together takes away."""
        from modelkeep.hub import remove as removing

        named = [asked(repo, revision, None) for repo, revision in targets]
        return removing.plan(self.store, self.hub, named)

    def remove(self, plan: RemovalPlan) -> Removal:
        """Carry out what `plan_removal` decided."""
        from modelkeep.hub import remove as removing

        self._require_writable()
        return removing.execute(self.store, self.hub, plan)

    def verify(
        self,
        *repos: str | Repo,
        jobs: int | None = None,
        begin: Callable[[int], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> VerifyReport:
        """Hash what loaders open of repos, or of the whole keep, and compare with names. Offline.

        `begin` is told the bytes to be hashed, then `progress` of each piece, from several threads.
        """
        from modelkeep.hub import checks
        from modelkeep.store.verify import verify

        found = checks.gather(self.store, self.hub, [asked(repo, None, None) for repo in repos])
        if begin is not None:
            begin(found.bytes)
        return verify(
            self.store,
            sorted(found.blobs),
            copies=found.copies,
            missing=found.missing,
            unverifiable=found.unverifiable,
            users=lambda digest: checks.users(self.hub, digest),
            jobs=jobs,
            progress=progress,
        )

    def _require_writable(self) -> None:
        if self.read_only:
            raise ReadOnlyError(
                f"`{self.directory}` cannot be written by you",
                hint="use a keep of your own: --keep DIR or MODELKEEP_HOME",
                path=self.directory,
            )


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


def _share(path: Path, group: str | None) -> None:
    """Let a group work in a directory and what is made inside it."""
    import grp

    with explained("sharing the keep", path):
        if group is not None:
            try:
                os.chown(path, -1, grp.getgrnam(group).gr_gid)
            except KeyError as error:
                raise UsageError(
                    f"there is no group `{group}`", hint=f"make it: groupadd {group}"
                ) from error
        path.chmod(0o2770)
