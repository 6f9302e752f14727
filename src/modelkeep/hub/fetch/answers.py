"""What a server's answer means: go on, try again, or give up."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

from modelkeep.errors import (
    AccessError,
    CorruptError,
    GatedError,
    ModelkeepError,
    NotFoundError,
    UpstreamError,
)
from modelkeep.hub.fetch.wanted import Wanted
from modelkeep.store.digest import Digest

_COMMIT_IN_URL = re.compile(r"/resolve/([0-9a-f]{40})/")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")
_RATE_LIMIT_RESET = re.compile(r"\bt=(\d+)")
_NOT_NOW = frozenset({408, 425, 429})
_ASKS_FOR_LESS = frozenset({429, 503})
_SIGNATURE_MARGIN_S = 30.0


class TryAgainError(Exception):
    """A request failed in a way that may pass.

    `delay` is how long the server asked to be left alone, None where it did not say.
    `overloaded`: fewer connections would help.
    """

    def __init__(
        self, reason: str, *, delay: float | None = None, overloaded: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = delay
        self.overloaded = overloaded


class RangesIgnoredError(Exception):
    """The server does not send the part of a file that it was asked for."""


def host(url: str) -> str:
    """Return the server of a URL, as people may see it: a signed path is of no use to them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def place(url: str) -> str:
    """Return a URL as people may see it: without the query, which can be a credential."""
    return f"{host(url)}{urlsplit(url).path}"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds a server asks to wait at POSIX time `now`, None where it does not say."""
    value = headers.get("Retry-After", "").strip()
    if value:
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - now)
        except ValueError:
            return None
    if found := _RATE_LIMIT_RESET.search(headers.get("RateLimit", "")):
        return float(found[1])
    return None


def lifetime(url: str, now: float) -> float | None:
    """Return for how many seconds a signed URL is good, None where it does not say."""
    query = parse_qs(urlsplit(url).query)
    try:
        if "X-Amz-Expires" in query:
            left = float(query["X-Amz-Expires"][0])
        elif "Expires" in query:
            left = float(query["Expires"][0]) - now
        else:
            return None
    except ValueError:
        return None
    # A clock that is wrong by more than the lifetime must not make every URL look expired.
    return left - _SIGNATURE_MARGIN_S if left > 2 * _SIGNATURE_MARGIN_S else None


def check_announced(wanted: Wanted, headers: Mapping[str, str]) -> None:
    """Refuse an endpoint that announces other content than was asked for, before its bytes come."""
    asked, told = _COMMIT_IN_URL.search(wanted.url), headers.get("X-Repo-Commit")
    if asked and told and told != asked[1]:
        raise CorruptError(
            f"`{wanted.name}`: the endpoint answers from another revision",
            expected=asked[1],
            got=told,
        )
    etag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
    announced = Digest.from_etag(etag.removeprefix("W/").strip('"'))
    if announced and announced.algorithm == wanted.digest.algorithm and announced != wanted.digest:
        raise CorruptError(
            f"`{wanted.name}`: the endpoint announces other content",
            expected=str(wanted.digest),
            got=str(announced),
        )
    size = headers.get("X-Linked-Size", "")
    if size.isdigit() and int(size) != wanted.size:
        raise wrong_size(wanted, f"{size} bytes")


def check_range(wanted: Wanted, headers: Mapping[str, str], start: int, stop: int) -> None:
    """Refuse a 206 answer with other bytes than [start, stop)."""
    found = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
    if found is None or (int(found[1]), int(found[2]) + 1) != (start, stop):
        raise RangesIgnoredError
    if found[3] != "*" and int(found[3]) != wanted.size:
        raise wrong_size(wanted, f"{found[3]} bytes")


def check_whole(wanted: Wanted, headers: Mapping[str, str]) -> None:
    """Refuse a 200 answer of another size than the file has."""
    length = headers.get("Content-Length", "")
    if length.isdigit() and int(length) != wanted.size:
        raise wrong_size(wanted, f"{length} bytes")


def wrong_size(wanted: Wanted, got: str) -> CorruptError:
    """Return the error for a file of another size than the repo lists."""
    return CorruptError(
        f"`{wanted.name}`: the server has another size", expected=f"{wanted.size} bytes", got=got
    )


def refusal(
    wanted: Wanted, url: str, status: int, headers: Mapping[str, str], *, by_endpoint: bool
) -> Exception:
    """Return the error an answer that is not the content stands for."""
    if status in _NOT_NOW or status >= 500:
        return TryAgainError(
            f"{host(url)} answers {status}",
            delay=retry_after(headers, time.time()),
            overloaded=status in _ASKS_FOR_LESS,
        )
    if status == 416:
        total = headers.get("Content-Range", "").rpartition("/")[2]
        return wrong_size(wanted, f"{total} bytes" if total.isdigit() else "fewer bytes")
    if not by_endpoint:
        # A link that was just signed and is refused: storage and endpoint may not agree yet.
        return TryAgainError(f"{host(url)} answers {status}")
    return _endpoint_refusal(wanted, url, status, headers)


def _endpoint_refusal(
    wanted: Wanted, url: str, status: int, headers: Mapping[str, str]
) -> ModelkeepError:
    code = headers.get("X-Error-Code", "")
    said = headers.get("X-Error-Message", "")[:200].rstrip(".")
    what = f"`{wanted.name}`: {said or f'{place(url)} answers {status}'}"
    if code == "GatedRepo":
        return GatedError(what, hint="accept the terms on the repo's page, then `hf auth login`")
    if code in ("RepoNotFound", "RevisionNotFound", "EntryNotFound") or status in (404, 410):
        return NotFoundError(what, hint="if the repo is private, `hf auth login`")
    if status == 401:
        return GatedError(what, hint="`hf auth login`, or set HF_TOKEN")
    if status == 403:
        return AccessError(what, hint="this token may not read the repo")
    return UpstreamError(what)
