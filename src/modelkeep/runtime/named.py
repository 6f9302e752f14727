"""The models a command is said to need, and what the keep has of them."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep.hub import held
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import DEFAULT_REVISION, Repo, RepoType, is_commit, parse
from modelkeep.store import uses
from modelkeep.store.digest import Digest
from modelkeep.store.layout import StoreLayout


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A repo and revision as somebody named them, and what is here.

    `commit` is None where the keep has nothing, `missing` counts the files it lacks or knows to be
    damaged and is None where nobody noted what there should be. `since` is the POSIX time at which
    the revision was last asked for upstream.
    """

    name: str
    repo: Repo
    commit: str | None = None
    missing: int | None = None
    since: float | None = None

    @property
    def complete(self) -> bool:
        """True where every file of the commit is here."""
        return self.commit is not None and self.missing == 0

    @property
    def loads_offline(self) -> bool:
        """True where a loader needs no network for it.

        The files of a data set are not enough: `datasets` prepares tables from them first.
        """
        return self.complete and self.repo.type is not RepoType.DATASET


def look(layout: StoreLayout, hub: HubCache, text: str) -> NamedModel:
    """Find out what a keep has of `org/name[@revision]`. InvalidRepoError for no name."""
    repo, revision = parse(text)
    wanted = revision or DEFAULT_REVISION
    commit = hub.resolve(repo, wanted)
    if commit is None:
        return NamedModel(text, repo)
    missing = hub.missing(repo, commit)
    lacking = None
    if missing is not None:
        lacking = len(missing) + len(held.damaged(layout, hub, repo, commit))
    asked = (
        hub.snapshot(repo, commit)
        if is_commit(wanted)
        else hub.folder(repo).joinpath("refs", wanted)
    )
    try:
        since = asked.stat().st_mtime
    except OSError:
        since = None
    return NamedModel(text, repo, commit, lacking, since)


def mark_used(layout: StoreLayout, hub: HubCache, model: NamedModel) -> None:
    """Stamp the last use of everything a model's snapshot holds."""
    if model.commit is None:
        return
    for path in hub.snapshot_files(model.repo, model.commit).values():
        name = path.readlink().name if path.is_symlink() else path.name
        digest = Digest.from_etag(name)
        if digest is not None:
            uses.stamp(layout.used(digest))
