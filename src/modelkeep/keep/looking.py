"""What tells about a keep and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelkeep import settings as settings_module
from modelkeep.errors import NotFoundError
from modelkeep.hub import held
from modelkeep.hub import listing as listings
from modelkeep.hub.asked import asked, several
from modelkeep.hub.closed import refusal
from modelkeep.hub.listing import Listing
from modelkeep.hub.repo import DEFAULT_REVISION, Repo
from modelkeep.keep.opened import OpenKeep

if TYPE_CHECKING:
    from modelkeep.hub.where import Where


class Looking(OpenKeep):
    """The verbs ls, show and where."""

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
        """List one repo.

        NotFoundError where the keep lacks it, or the revision that is named; AccessError where its
        folder is closed to the caller.
        """
        name, wanted = asked(repo, None, None)
        if wanted is not None:
            held.find(self.hub, name, wanted)
        found = listings.listing(self.store, self.hub, [name])
        if found.closed:
            raise refusal(found.closed[0])
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
