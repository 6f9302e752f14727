"""The two questions of every pull, asked of the Hub's API without its client.

Importing the client takes longer than fetching a small model, and a plain answer needs none of it.
Only a plain answer is taken here: for anything else, None is returned and the client asks again. It
knows what the Hub's refusals mean, which of them pass, and where redirects may lead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from urllib3.exceptions import HTTPError

from modelkeep._version import __version__
from modelkeep.hub.fetch.connections import Connections
from modelkeep.hub.repo import Repo, is_commit
from modelkeep.hub.tree import TreeFile
from modelkeep.store.digest import GIT_SHA1, SHA256, Digest

_CONNECT_S, _READ_S = 5.0, 10.0
_NEXT_PAGE = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')


class Api:
    """The API of one endpoint. The token goes to it alone, and no redirect is followed."""

    def __init__(self, endpoint: str, token: str | None) -> None:
        self._endpoint = endpoint
        self._headers = {"User-Agent": f"modelkeep/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connections = Connections(kept=1, connect_timeout=_CONNECT_S, read_timeout=_READ_S)

    def commit(self, repo: Repo, revision: str) -> str | None:
        """Return the commit a branch, tag or commit stands for now; None: ask the client."""
        try:
            answer, _ = self._ask(f"{self._of(repo)}/revision/{quote(revision, safe='')}")
            commit = answer["sha"]
        except _NOT_PLAIN:
            return None
        return commit if isinstance(commit, str) and is_commit(commit) else None

    def tree(self, repo: Repo, commit: str) -> tuple[TreeFile, ...] | None:
        """Return every file of a commit; None: ask the client."""
        try:
            entries = list(self._pages(f"{self._of(repo)}/tree/{commit}?recursive=true"))
            return tuple(_tree_file(entry) for entry in entries if entry["type"] == "file")
        except _NOT_PLAIN:
            return None

    def close(self) -> None:
        """Close the connection."""
        self._connections.close()

    def _of(self, repo: Repo) -> str:
        return f"{self._endpoint}/api/{repo.type.plural}/{repo.id}"

    def _pages(self, url: str) -> Iterator[Any]:
        while url:
            entries, url = self._ask(url)
            if not isinstance(entries, list):
                raise TypeError
            yield from entries

    def _ask(self, url: str) -> tuple[Any, str]:
        """Return an answer and where it goes on; one of `_NOT_PLAIN` where there is none."""
        response = self._connections.get(url, self._headers)
        try:
            if response.status != 200:
                raise ValueError(response.status)
            answer = json.loads(response.read())
        finally:
            response.close()
            response.release_conn()
        following = _NEXT_PAGE.search(response.headers.get("Link", ""))
        if following and not following[1].startswith(f"{self._endpoint}/"):
            raise ValueError("another server")
        return answer, following[1] if following else ""


_NOT_PLAIN = (HTTPError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""What asking raises where there is no plain answer: JSON of the expected shape under 200."""


def _tree_file(entry: Any) -> TreeFile:
    oid, lfs = str(entry["oid"]), entry.get("lfs")
    if lfs is None:
        size, digest = int(entry["size"]), Digest(GIT_SHA1, oid)
    else:
        size, digest = int(lfs["size"]), Digest(SHA256, str(lfs["oid"]))
    return TreeFile(str(entry["path"]), size, digest, oid, entry.get("xetHash"))
