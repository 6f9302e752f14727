"""What proves that a keep, or any stock cache, holds what its names say."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from modelkeep import settings
from modelkeep.errors import NotFoundError, UsageError
from modelkeep.hub.asked import asked
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import Repo
from modelkeep.keep.getting import Getting
from modelkeep.keep.settling import Settling

if TYPE_CHECKING:
    from modelkeep.hub.progress import Progress
    from modelkeep.hub.repair.refetch import Refetcher
    from modelkeep.hub.repair.replacements import Replacements
    from modelkeep.keep import Keep
    from modelkeep.store.checked import Checked
    from modelkeep.store.report import Corrupt, VerifyReport
    from modelkeep.store.store import Store

Bytes = Callable[[int], None]


class Checking(Getting, Settling):
    """The verb verify."""

    def verify(
        self,
        *repos: str | Repo,
        quick: bool = False,
        max_seconds: float | None = None,
        jobs: int | None = None,
        repair: bool = False,
        source: str | os.PathLike[str] | None = None,
        begin: Bytes | None = None,
        progress: Bytes | None = None,
        interrupted: Callable[[VerifyReport], None] | None = None,
        mending: Progress | None = None,
    ) -> VerifyReport:
        """Hash what loaders open of repos, or of the whole keep, and compare with names. Offline.

        `quick` hashes only what has changed since it was hashed, or never was. With `max_seconds`
        no file is begun that would not be done by then, and the next run goes on. `repair` makes
        good what is bad or missing, from other files of this machine, from `source` (a file, or a
        folder of any kind), or from upstream. What clients brought is settled at the end, where
        time has no limit.

        `begin` is told the bytes to be hashed, `progress` of each piece, from several threads;
        `mending` of what is copied or fetched to repair. On KeyboardInterrupt `interrupted` gets
        what was found so far.
        """
        from modelkeep.hub.repair import checks
        from modelkeep.store.verify import verify

        named = [asked(repo, None, None) for repo in repos]
        if repair:
            self.require_writable()
        replacements = _replacements(self.store, [self.hub], source, mending) if repair else None
        found = checks.gather(self.store, self.hub, named)
        lost = [digest for digest in found.missing if not self.store.has(digest)]
        report = verify(
            self.store,
            found.blobs,
            copies=found.copies,
            checked=self._log(),
            missing=found.missing,
            unverifiable=found.unverifiable,
            users=lambda digest: checks.users(self.hub, digest),
            quick=quick,
            max_seconds=max_seconds,
            jobs=jobs,
            begin=begin,
            progress=progress,
            interrupted=interrupted,
        )
        try:
            if replacements is not None and not report.ok:
                from modelkeep.hub.repair.keep import Repairer

                refetcher = _refetcher(self, mending)
                repairer = Repairer(self.store, self.hub, replacements, refetcher)
                report = repairer.repair(report, found.missing).applied(report)
            if max_seconds is None:
                inodes = {bad.path: _inode(bad.path) for bad in report.corrupt}
                self.settle_on_the_way([repo for repo, _ in named] or None)
                report = report.without_healed(
                    bad for bad in report.corrupt if self._is_healed(bad, inodes[bad.path])
                ).with_restored(
                    digest
                    for digest in lost
                    if self.store.has_sound(digest)
                    and all(
                        (self.hub.directory / self.hub.blob_name(repo, digest)).exists()
                        for repo in found.missing[digest]
                    )
                )
        except KeyboardInterrupt:
            if interrupted is not None:
                interrupted(replace(report, interrupted=True))
            raise
        return report

    def _is_healed(self, bad: Corrupt, inode: int | None) -> bool:
        """Tell whether a blob that was marked is sound now, and every name of it with it."""
        path = self.store.path(bad.digest)
        return (
            bad.marked
            and bad.path == str(path)
            and (bad.links == 1 or _inode(bad.path) == inode)
            and self.store.has_sound(bad.digest)
        )

    def _log(self) -> Checked:
        from modelkeep.store.checked import Checked

        mode = 0o664 if self.store.mode == "group" else 0o644
        return Checked(self.store.layout.checked / "hub", mode=mode)


def verify_cache(
    directory: str | os.PathLike[str],
    keep: Keep | None,
    *,
    quick: bool = False,
    max_seconds: float | None = None,
    jobs: int | None = None,
    repair: bool = False,
    source: str | os.PathLike[str] | None = None,
    begin: Bytes | None = None,
    progress: Bytes | None = None,
    interrupted: Callable[[VerifyReport], None] | None = None,
    mending: Progress | None = None,
) -> VerifyReport:
    """Verify any stock cache, as `Keep.verify` does a keep; `keep` is where good bytes may be.

    What is bad is replaced, never written into, except where it is an inode of the keep's store:
    that heals. What was checked when is noted in the caller's own state folder.
    """
    from modelkeep.hub.repair import checks
    from modelkeep.hub.repair.cache import repair_cache
    from modelkeep.hub.repair.keep import Repairer
    from modelkeep.store.checked import Checked
    from modelkeep.store.verify import verify

    cache = HubCache(_existing_cache(Path(directory)))
    if keep is not None and cache.directory == keep.hub.directory.resolve():
        raise UsageError(
            f"`{directory}` is the hub of the keep itself", hint="verify it: modelkeep verify"
        )
    replacements = None
    if repair:
        near = [keep.hub] if keep else []
        store = keep.store if keep else None
        replacements = _replacements(store, [cache, *near], source, mending)
    found = checks.gather_cache(cache)
    key = hashlib.sha256(os.fsencode(cache.directory)).hexdigest()[:32]
    report = verify(
        None,
        (),
        copies=found.copies,
        checked=Checked(settings.state_directory() / "checked" / key),
        missing=found.missing,
        unverifiable=found.unverifiable,
        quick=quick,
        max_seconds=max_seconds,
        jobs=jobs,
        begin=begin,
        progress=progress,
        interrupted=interrupted,
    )
    if replacements is not None and not report.ok:
        refetcher = _refetcher(keep, mending)
        if keep is not None and not keep.read_only:
            repairer = Repairer(keep.store, keep.hub, replacements, refetcher)
            report = repairer.heal_shared(report).applied(report)
        out = repair_cache(cache, report, found.missing, replacements, refetcher)
        report = out.applied(report)
    return report


def _replacements(
    store: Store | None,
    caches: list[HubCache],
    source: str | os.PathLike[str] | None,
    mending: Progress | None,
) -> Replacements:
    from modelkeep.hub.repair.replacements import Replacements

    loaders = HubCache(Path(settings.loader_cache().value))
    place = Path(source) if source else None
    return Replacements(store, [*caches, loaders], place, progress=mending)


def _refetcher(keep: Checking | None, mending: Progress | None) -> Refetcher:
    from modelkeep.hub.repair.refetch import Refetcher
    from modelkeep.hub.upstream import Upstream

    def upstream() -> Upstream:
        if keep is not None:
            return keep.upstream(progress=mending)
        decided = settings.endpoint(settings.KeepSettings())
        return Upstream(decided.value if decided else None)

    flock = keep is None or keep.store.capabilities.flock
    return Refetcher(upstream, flock=flock, progress=mending)


def _inode(path: str) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def _existing_cache(directory: Path) -> Path:
    """Return where a cache really is, also that of an `HF_HOME`; NotFoundError where is none."""
    top = directory.expanduser().resolve()
    for place in (top, top / "hub"):
        if any(True for _ in HubCache(place).repos()):
            return place
    whole = f"it is a repo of a cache: modelkeep verify --cache {quote(str(top.parent))}"
    raise NotFoundError(
        f"`{directory}` is no Hugging Face cache: it holds no repo",
        hint=whole if Repo.from_folder(top.name) else None,
        path=directory,
    )
