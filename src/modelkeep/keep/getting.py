"""What brings models into a keep, and hands them on to other places."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkeep.errors import NotFoundError, UsageError
from modelkeep.hub import held
from modelkeep.hub.asked import asked, chosen, several
from modelkeep.hub.repo import DEFAULT_REVISION, Repo, RepoType
from modelkeep.keep.opened import OpenKeep
from modelkeep.keep.recording import unrecorded_use

if TYPE_CHECKING:
    from modelkeep.hub.link import Linked
    from modelkeep.hub.progress import Progress
    from modelkeep.hub.pulled import Pulled
    from modelkeep.hub.removal.budget import Budget
    from modelkeep.hub.upstream import Upstream


class Getting(OpenKeep):
    """The verbs pull, add and link."""

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
        resume. Where `keep.toml` has a budget, the pull stays within it: NoSpaceError, unless
        revisions may go to make room.
        """
        from modelkeep.hub import pull as pulling
        from modelkeep.hub.progress import Progress
        from modelkeep.hub.request import Request
        from modelkeep.hub.xet import XetUse

        name, wanted = asked(repo, revision, type)
        self.require_writable(elsewhere=True)
        progress = progress or Progress()
        upstream = self.upstream(token=token, progress=progress)
        request = Request(
            name,
            wanted or DEFAULT_REVISION,
            include=several(include),
            exclude=several(exclude),
            force=force,
            limit_rate=limit_rate,
            xet=chosen(XetUse, "xet", xet),
        )
        budget = self._budget(progress)
        pulled = pulling.pull(self.store, self.hub, upstream, request, progress, budget=budget)
        return replace(pulled, evicted=tuple(budget.evicted)) if budget else pulled

    @contextmanager
    def together(
        self,
        repos: Iterable[str],
        *,
        type: str | None = None,  # noqa: A002 - the Hub's word
    ) -> Iterator[None]:
        """Hold revisions for the block, so that no pull in it makes room by evicting another one.

        What a name stands for by then is held. InvalidRepoError for what is no name.
        """
        from modelkeep.hub.holds import in_hand

        self.require_writable()
        named = [asked(repo, None, type) for repo in repos]
        with ExitStack() as hands:
            for repo, revision in dict.fromkeys(named) if len(named) > 1 else ():
                wanted = revision or DEFAULT_REVISION
                hands.enter_context(in_hand(self.store, repo, wanted, (), reason="modelkeep pull"))
            yield

    def _budget(self, progress: Progress) -> Budget | None:
        from modelkeep.hub.removal.budget import Budget

        if self.settings.budget is None:
            return None
        return Budget(
            self.store,
            self.hub,
            self.settings.budget,
            evict=self.settings.evict,
            unrecorded=lambda: unrecorded_use(self),
            progress=progress,
        )

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
        self.require_writable(elsewhere=True)
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
