"""The models a command is said to need, and what the keep has of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelkeep.fs import identity
from modelkeep.hub import held
from modelkeep.hub.cache import HubCache
from modelkeep.hub.repo import DEFAULT_REVISION, Repo, RepoType, is_commit, parse
from modelkeep.store import uses
from modelkeep.store.digest import Digest
from modelkeep.store.layout import StoreLayout
from modelkeep.store.leases import Lease, Leases

_INTERPRETER = re.compile(r"(?:python|pypy|perl|ruby|node|bash|dash|zsh|sh)[\d.]*")


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


def stands(hub: HubCache, model: NamedModel) -> bool:
    """Tell whether a model's revision is still the one that was looked at, and still there."""
    return hub.resolve(model.repo, _wanted(model)) == model.commit and (
        model.commit is None or hub.snapshot(model.repo, model.commit).is_dir()
    )


def lease(
    leases: Leases, hub: HubCache, model: NamedModel, command: Sequence[str], *, online: bool
) -> Iterator[Lease]:
    """Take the leases of a process that is about to use a model: yield each one taken.

    On the commit that is here, and where the process may bring another one, on what was named.
    Wait out the marks afterwards, and see whether the model still stands.
    """
    owner, reason = identity.current(), _program(command)
    if model.commit is not None:
        name = f"{model.repo}@{model.commit}"
        yield leases.take(name, _digests(hub, model), owner=owner, reason=reason)
    if online or model.commit is None:
        name = f"{model.repo}@{_wanted(model)}"
        yield leases.take(name, (), owner=owner, reason=reason)


def mark_used(layout: StoreLayout, hub: HubCache, model: NamedModel) -> None:
    """Stamp the last use of everything a model's snapshot holds."""
    for digest in _digests(hub, model):
        uses.stamp(layout.used(digest))


def _program(command: Sequence[str]) -> str:
    """Return what a command is known by to everybody who sees the lease.

    The name of the program, and what it interprets. Never an argument: it may be a secret.
    """
    words = [Path(command[0]).name]
    if _INTERPRETER.fullmatch(words[0]):
        script = command[2:3] if command[1:2] == ["-m"] else command[1:2]
        words += [Path(word).name for word in script if not word.startswith("-")]
    return " ".join(words)


def _digests(hub: HubCache, model: NamedModel) -> list[Digest]:
    if model.commit is None:
        return []
    paths = hub.snapshot_files(model.repo, model.commit).values()
    names = (path.readlink().name if path.is_symlink() else path.name for path in paths)
    return list(filter(None, map(Digest.from_etag, names)))


def _wanted(model: NamedModel) -> str:
    return parse(model.name)[1] or DEFAULT_REVISION
