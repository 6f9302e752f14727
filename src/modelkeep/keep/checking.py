"""What proves that a keep holds what its names say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from modelkeep.hub.asked import asked
from modelkeep.hub.repo import Repo
from modelkeep.keep.opened import OpenKeep

if TYPE_CHECKING:
    from modelkeep.store.verify import VerifyReport


class Checking(OpenKeep):
    """The verb verify."""

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
