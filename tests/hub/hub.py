"""The stand-in Hub itself: two origins, repositories, tokens, a log and faults."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from tests.hub.access import Access, Token
from tests.hub.faults import Course, Delay, Fault, FaultPlan, Planned
from tests.hub.files import SignedLinks
from tests.hub.messages import Request, Response, error_response
from tests.hub.repos import PLURALS, Repository
from tests.hub.routes import Router
from tests.hub.serving import Origin
from tests.hub.xet import Xet


class Hub:
    """A Hugging Face Hub on 127.0.0.1, and the CDN it redirects to on 127.0.0.2.

    Shares no code with modelkeep, so that it can judge it. Runs in threads of this process from
    `with` or `start()` until `close()`. All attributes may be changed while it serves.
    """

    def __init__(self, port: int = 0) -> None:
        self._lock = threading.Lock()
        self._log: list[Request] = []
        self._faults = FaultPlan()
        self._access = Access()
        self._xet = Xet()
        self._xet_folder: tempfile.TemporaryDirectory[str] | None = None
        self._origin = Origin("hub", self._answer, "127.0.0.1", port)
        # another host: some clients tell origins apart by host alone
        self._cdn = Origin("cdn", self._answer, "127.0.0.2")
        self._links = SignedLinks(self._cdn.url)
        self._router = Router(self._access, self._links, self._xet)
        self.latency = 0.0
        """Seconds before each answer, as of a Hub that is far away."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Self:
        self.up()
        return self

    def close(self) -> None:
        self._origin.close()
        self._cdn.close()
        if self._xet_folder is not None:
            self._xet_folder.cleanup()

    @property
    def endpoint(self) -> str:
        return self._origin.url

    @property
    def cdn(self) -> str:
        return self._cdn.url

    # Content

    def repo(
        self, repo_id: str, kind: str = "model", *, private: bool = False, gated: bool = False
    ) -> Repository:
        """A new, empty repository; kinds are model, dataset, space and kernel."""
        assert kind in PLURALS, kind
        repo = Repository(repo_id, kind, private, gated)
        self._router.repos[kind, repo_id] = repo
        return repo

    def delete(self, repo: Repository) -> None:
        del self._router.repos[repo.kind, repo.id]

    def move(self, repo: Repository, new_id: str) -> None:
        """Rename; the old name redirects from now on."""
        self.delete(repo)
        self._router.moved[repo.kind, repo.id] = new_id
        repo.id = new_id
        self._router.repos[repo.kind, new_id] = repo

    def token(self, value: str, grants: Iterable[str] = (), user: str = "someone") -> str:
        """Make a token known; `grants` are ids of private and gated repositories it opens."""
        self._access.tokens[value] = Token(value, user, frozenset(grants))
        return value

    @property
    def page_size(self) -> int:
        """Entries in a page of a tree."""
        return self._router.page_size

    @page_size.setter
    def page_size(self, entries: int) -> None:
        self._router.page_size = entries

    @property
    def cache_route(self) -> bool:
        """Whether files in git are redirected to `/api/resolve-cache/…` first."""
        return self._router.cache_route

    @cache_route.setter
    def cache_route(self, on: bool) -> None:
        self._router.cache_route = on

    @property
    def link_lifetime(self) -> float:
        """Seconds for which links to the CDN hold, from when they are issued."""
        return self._links.lifetime

    @link_lifetime.setter
    def link_lifetime(self, seconds: float) -> None:
        self._links.lifetime = seconds

    @property
    def xet(self) -> bool:
        """Whether LFS files are announced as Xet files, with a token route that works."""
        return self._xet.enabled

    @xet.setter
    def xet(self, on: bool) -> None:
        if on and self._xet_folder is None:
            self._xet_folder = tempfile.TemporaryDirectory(prefix="stand-in-xet-")
            self._xet.store = Path(self._xet_folder.name)
        self._xet.enabled = on

    @property
    def xet_tokens(self) -> bool:
        """Whether the Xet token route answers; mirrors announce hashes and then answer 404."""
        return self._xet.answers_tokens

    @xet_tokens.setter
    def xet_tokens(self, on: bool) -> None:
        self._xet.answers_tokens = on

    # What went over the wire

    @property
    def requests(self) -> list[Request]:
        """Every request since the start or the last `clear_log`, in order of arrival."""
        with self._lock:
            return list(self._log)

    def clear_log(self) -> None:
        with self._lock:
            self._log.clear()

    def matching(
        self, pattern: str = "*", *, method: str | None = None, origin: str | None = None
    ) -> list[Request]:
        """Requests whose decoded path matches a glob or ends in `/pattern`."""
        return [
            request
            for request in self.requests
            if method in (None, request.method)
            and origin in (None, request.origin)
            and _names(unquote(request.path), pattern)
        ]

    def gets(self, pattern: str = "*") -> list[Request]:
        """The GETs of a file that carried its bytes, by hub or CDN (redirects left out)."""
        return [r for r in self.matching(pattern, method="GET") if r.status in (200, 206)]

    def bytes_sent(self, pattern: str = "*", *, origin: str | None = None) -> int:
        return sum(request.bytes_sent for request in self.matching(pattern, origin=origin))

    # Trouble

    def fault(
        self,
        pattern: str,
        fault: Fault,
        *,
        times: int | None = 1,
        origin: str | None = None,
        method: str | None = None,
    ) -> Planned:
        """Spoil the next `times` responses (None: all) for decoded paths that match the glob.

        A file has paths on both origins, `…/resolve/REV/FILE` and on the CDN `…/SHA256/FILE`;
        `origin` ("hub" or "cdn") chooses. `hits` of what is returned counts those spoiled.
        """
        return self._faults.add(Planned(pattern, fault, times, origin, method))

    def clear_faults(self) -> None:
        self._faults.clear()

    def rate_limit_per_connection(self, bytes_per_second: float | None) -> None:
        """Limit the body bytes of each connection to either origin, evenly paced."""
        self._origin.rate = self._cdn.rate = bytes_per_second

    def down(self) -> None:
        """Refuse connections at both origins and reset the open ones."""
        self._origin.down()
        self._cdn.down()

    def up(self) -> None:
        """Come back at the same ports."""
        self._cdn.up()
        self._origin.up()

    def _answer(self, request: Request) -> tuple[Response, Course]:
        with self._lock:
            self._log.append(request)
        if request.origin == "hub":
            response = self._router.answer(request)
        elif request.method in ("GET", "HEAD"):
            response = self._links.answer(request)
        else:
            response = error_response(405, "Method not allowed")
        course = Course()
        if self.latency:
            Delay(self.latency).spoil(request, response, course)
        return self._faults.apply(request, response, course), course


def _names(path: str, pattern: str) -> bool:
    return fnmatchcase(path, pattern) or path.endswith(f"/{pattern}")
