"""Fetches single contents anew from upstream, by what is known of where they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from modelkeep._version import __version__
from modelkeep.errors import ModelkeepError, NotFoundError, OfflineError, UpstreamError
from modelkeep.hub.cache import HubCache
from modelkeep.hub.fetch import Fetcher, Wanted
from modelkeep.hub.progress import Progress
from modelkeep.hub.repo import Repo, parse
from modelkeep.hub.upstream import Upstream
from modelkeep.store.digest import Digest
from modelkeep.store.meta import Meta, Source

Deliver = Callable[[Path, Source], None]


class Refetcher:
    """Fetches from the caller's own endpoint, whatever a side file names: that gets the token.

    Once the endpoint cannot be reached nothing more is asked of it: `fetch` raises the same again.
    """

    def __init__(
        self,
        upstream: Callable[[], Upstream],
        *,
        flock: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self._make = upstream
        self._upstream: Upstream | None = None
        self._flock = flock
        self._progress = progress
        self._failure: ModelkeepError | None = None
        self._known: dict[tuple[Repo, str], dict[Digest, int]] = {}

    def fetch(
        self,
        digest: Digest,
        origins: Iterable[Source],
        deliver: Deliver,
        *,
        partials: Path,
        locks: Path,
    ) -> Source:
        """Deliver a verified file with the content; return where it came from.

        `partials` and `locks` are folders on the file system the file goes to. Tries one origin
        after another. Raises what the last one answered: NotFoundError where there is none,
        GatedError, UpstreamError, NoSpaceError.
        """
        if self._failure is not None:
            raise self._failure
        error: ModelkeepError = NotFoundError("nobody noted where it came from")
        for origin in dict.fromkeys(origins):
            try:
                self._fetch(digest, origin, deliver, partials, locks)
            except UpstreamError as failure:
                self._failure = failure
                raise
            except ModelkeepError as failure:
                if failure.exit_code not in (1, 4):
                    raise
                error = failure
            else:
                return origin
        raise error

    def _fetch(
        self,
        digest: Digest,
        origin: Source,
        deliver: Deliver,
        partials: Path,
        locks: Path,
    ) -> None:
        upstream = self._endpoint()
        repo, _ = parse(origin.repo)
        sizes = self._sizes(upstream, repo, origin.commit)
        if digest not in sizes:
            raise NotFoundError(f"`{repo}` has other content upstream at {origin.commit[:12]}")
        source = Source(origin.repo, origin.commit, origin.path, upstream.public)
        wanted = Wanted(
            upstream.url(repo, origin.commit, origin.path), digest, sizes[digest], origin.path
        )
        fetcher = Fetcher(
            endpoint=upstream.endpoint,
            token=upstream.token,
            partials=partials,
            locks=locks,
            flock=self._flock,
            user_agent=f"modelkeep/{__version__}",
            progress=self._progress,
        )
        fetcher.fetch([wanted], have=lambda _: False, deliver=lambda _, path: deliver(path, source))

    def _sizes(self, upstream: Upstream, repo: Repo, commit: str) -> dict[Digest, int]:
        """Return the contents of a commit upstream, each with its size."""
        if (repo, commit) not in self._known:
            upstream.commit(repo, commit)  # tells at once where nobody answers; listings try long
            files = upstream.tree(repo, commit)
            self._known[repo, commit] = {file.digest: file.size for file in files}
        return self._known[repo, commit]

    def _endpoint(self) -> Upstream:
        if self._upstream is None:
            self._upstream = self._make()
            from huggingface_hub import constants

            if constants.HF_HUB_OFFLINE:
                raise OfflineError(
                    "offline mode is on", hint="unset HF_HUB_OFFLINE, or name a place with --from"
                )
        return self._upstream


def origins(meta: Meta | None, hubs: Iterable[HubCache], digest: Digest) -> Iterator[Source]:
    """Yield the files of repos that have a content, as side files and caches tell."""
    for source in meta.sources if meta else ():
        if source.upstream is not None:
            yield source
    for hub in hubs:
        for repo in hub.repos():
            if (hub.directory / hub.blob_name(repo, digest)).parent.is_dir():
                yield from _in_repo(hub, repo, digest)


def _in_repo(hub: HubCache, repo: Repo, digest: Digest) -> Iterator[Source]:
    for commit in hub.commits(repo):
        paths = {file.path for file in hub.tree(repo, commit) or () if file.digest == digest}
        top = hub.snapshot(repo, commit)
        for link in top.rglob("*"):
            if link.is_symlink() and link.readlink().name == digest.etag:
                paths.add(link.relative_to(top).as_posix())
        for path in sorted(paths):
            yield Source(str(repo), commit, path, None)
