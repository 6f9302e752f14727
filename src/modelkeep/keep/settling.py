"""What takes in the files that stock clients wrote into the keep's hub."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from modelkeep.errors import NoSpaceError, NotFoundError, UsageError
from modelkeep.hub.asked import asked
from modelkeep.hub.repo import Repo
from modelkeep.keep.opened import OpenKeep

if TYPE_CHECKING:
    from modelkeep.hub.progress import Progress
    from modelkeep.hub.settle import Settled


class Settling(OpenKeep):
    """The verb settle, for itself and on the way of others."""

    def settle(
        self, *repos: str | Repo, progress: Progress | None = None, dry_run: bool = False
    ) -> Settled:
        """Hash, share and seal what stock clients brought: of some repos, or of the whole hub.

        Safe while clients download. `dry_run` changes nothing and hashes nothing.
        """
        named = [self._here(repo) for repo in repos]
        if not dry_run:
            self.require_writable()
        return self._settle(named or None, progress, dry_run=dry_run)

    def settle_on_the_way(
        self, repos: Iterable[Repo] | None, progress: Progress | None = None
    ) -> None:
        """Settle as a part of something else, which must not fail where this cannot be done."""
        if not self.read_only:
            with suppress(NoSpaceError):
                self._settle(repos, progress)

    def _settle(
        self, repos: Iterable[Repo] | None, progress: Progress | None, *, dry_run: bool = False
    ) -> Settled:
        from modelkeep.hub import settle as settling

        decided = self.endpoint
        return settling.settle(
            self.store,
            self.hub,
            repos,
            endpoint=decided.value if decided else None,
            progress=progress,
            dry_run=dry_run,
        )

    def _here(self, repo: str | Repo) -> Repo:
        name, revision = asked(repo, None, None)
        if revision is not None:
            raise UsageError(
                f"`{repo}` names a revision, and a repo is settled as a whole",
                hint=f"modelkeep settle {name}",
            )
        if not self.hub.folder(name).is_dir():
            raise NotFoundError(
                f"`{name}` is not in the keep", hint=f"get it: modelkeep pull {name}"
            )
        return name
