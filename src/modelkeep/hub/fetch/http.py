"""One request for part of a file: redirects, the token, and what the answer means."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3 import exceptions as http_errors

from modelkeep.errors import UpstreamError
from modelkeep.hub.fetch import answers
from modelkeep.hub.fetch.answers import RangesIgnoredError, TryAgainError, host, place
from modelkeep.hub.fetch.connections import Connections
from modelkeep.hub.fetch.wanted import Patience, Wanted

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_LOCATION_TOO_OLD = frozenset({400, 401, 403, 404, 410})
_WORTH_READING = 1 << 16
_DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]


def origin(url: str) -> Origin:
    """Return scheme, host and port of a URL."""
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").lower(), port


class Source:
    """Where the bytes of one file come from, learned from the endpoint's first answer.

    Endpoints redirect to signed URLs that age. One is kept for all ranges of a file until it is
    refused, its server cannot be reached, or its time is over.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.asking = threading.Lock()  # held while the endpoint is asked for a location
        self.direct = False  # the endpoint sends the bytes itself
        self._location: tuple[str, bool] | None = None
        self._good_until = 0.0

    def location(self) -> tuple[str, bool] | None:
        """Return the URL to ask, and whether the token may go there; None: ask the endpoint."""
        location = self._location
        return location if location and time.monotonic() < self._good_until else None

    def remember(self, url: str, *, with_token: bool) -> None:
        """Use `url` for the ranges to come."""
        lifetime = answers.lifetime(url, time.time())
        self._good_until = time.monotonic() + lifetime if lifetime else float("inf")
        self._location = url, with_token

    def forget(self, url: str | None = None) -> None:
        """Stop using `url`, or whatever is in use."""
        if url is None or (self._location and self._location[0] == url):
            self._location = None
            self.direct = False


class Body:
    """The bytes of one answer. Close it; a connection that was read to its end is used again."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, *, whole: bool) -> None:
        self._response = response
        # What urllib3 reads through: its own `readinto` takes new memory for each block.
        self._reader: http.client.HTTPResponse = vars(response)["_fp"]
        self._url = url
        self.whole = whole
        """The file from byte 0 on, whatever was asked for."""

    def read_into(self, buffer: memoryview) -> int:
        """Fill the buffer, except at the end; return how many bytes came.

        TryAgainError where they do not come.
        """
        try:
            return self._reader.readinto(buffer)
        except (http.client.HTTPException, OSError) as error:
            raise failure(error, self._url) from error

    def close(self) -> None:
        """Give the connection back, or close it where bytes are still to come."""
        if self._reader.isclosed():
            self._response.release_conn()
        self._response.close()


class Client:
    """Asks an endpoint, and whom it redirects to, for bytes. Thread-safe.

    The token goes to the endpoint's own origin alone. A redirect that leaves it and comes back does
    not get it either, since another party then chose the URL.
    """

    def __init__(
        self, endpoint: str, token: str | None, user_agent: str, patience: Patience, streams: int
    ) -> None:
        self._origin = origin(endpoint)
        self._token = token
        self._user_agent = user_agent
        self._connections = Connections(
            kept=streams, connect_timeout=patience.connect, read_timeout=patience.stall
        )

    def abort(self) -> None:
        """Make every request end at once."""
        self._connections.abort()

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()

    def open(self, source: Source, start: int, stop: int) -> Body:
        """Ask for [start, stop) of a file.

        Raises TryAgainError, RangesIgnoredError, CorruptError where the server has other content,
        and the errors a user can do something about.
        """
        while True:
            if location := source.location():
                body = self._ask_location(source, location, start, stop)
                if body is not None:
                    return body
                source.forget(location[0])
            if source.direct:
                return self._ask_endpoint(source, start, stop)
            with source.asking:
                if source.location() is None:
                    return self._ask_endpoint(source, start, stop)

    def _ask_location(
        self, source: Source, location: tuple[str, bool], start: int, stop: int
    ) -> Body | None:
        url, with_token = location
        try:
            response = self._get(source.wanted, url, start, stop, with_token=with_token)
        except TryAgainError:
            source.forget(url)  # the endpoint may know a server that lives
            raise
        if response.status in _LOCATION_TOO_OLD or response.status in _REDIRECTS:
            _discard(response)
            return None
        return _body(source.wanted, response, url, start, stop, by_endpoint=False)

    def _ask_endpoint(self, source: Source, start: int, stop: int) -> Body:
        wanted, url = source.wanted, source.wanted.url
        with_token = at_home = origin(url) == self._origin
        for hop in range(_MOST_REDIRECTS):
            response = self._get(wanted, url, start, stop, with_token=with_token)
            try:
                if at_home or hop == 0:
                    answers.check_announced(wanted, response.headers)
                target = response.headers.get("Location")
                if response.status not in _REDIRECTS or not target:
                    if hop:
                        source.remember(url, with_token=with_token)
                    else:
                        source.direct = True
                    return _body(wanted, response, url, start, stop, by_endpoint=at_home)
            except BaseException:
                _discard(response)
                source.forget()
                raise
            _discard(response)
            url = _redirected(wanted, url, target)
            at_home = origin(url) == self._origin
            with_token = with_token and at_home
        raise UpstreamError(f"`{wanted.name}`: too many redirects, the last to {place(url)}")

    def _get(
        self, wanted: Wanted, url: str, start: int, stop: int, *, with_token: bool
    ) -> urllib3.BaseHTTPResponse:
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "identity"}
        if (start, stop) != (0, wanted.size):
            headers["Range"] = f"bytes={start}-{stop - 1}"
        if with_token and self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            return self._connections.get(url, headers)
        except (http_errors.HTTPError, OSError) as error:
            raise failure(error, url) from error


def _redirected(wanted: Wanted, url: str, location: str) -> str:
    """Return the URL that a redirect leads to; UpstreamError where nothing can be asked there."""
    try:
        target = urljoin(url, location)
        scheme, _, _ = origin(target)
    except ValueError as error:
        raise UpstreamError(f"`{wanted.name}`: redirected to what is no URL") from error
    if scheme not in _DEFAULT_PORTS:
        raise UpstreamError(f"`{wanted.name}`: redirected away from HTTP, to {place(target)}")
    return target


def _body(
    wanted: Wanted,
    response: urllib3.BaseHTTPResponse,
    url: str,
    start: int,
    stop: int,
    *,
    by_endpoint: bool,
) -> Body:
    if response.status == 206:
        answers.check_range(wanted, response.headers, start, stop)
        return Body(response, url, whole=False)
    if response.status == 200:
        answers.check_whole(wanted, response.headers)
        if start != 0:
            raise RangesIgnoredError
        return Body(response, url, whole=True)
    raise answers.refusal(wanted, url, response.status, response.headers, by_endpoint=by_endpoint)


def _discard(response: urllib3.BaseHTTPResponse) -> None:
    # A short body is read so that its connection can be used again.
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) <= _WORTH_READING:
        try:
            response.read()
        except (http_errors.HTTPError, OSError):
            response.close()
    else:
        response.close()
    response.release_conn()


def failure(error: Exception, url: str) -> Exception:
    """Return what a failed exchange with a server stands for."""
    where = host(url)
    if _certificate_refused(error):
        return UpstreamError(
            f"the certificate of {where} cannot be verified",
            hint="name your organisation's certificates: SSL_CERT_FILE=/path/ca.pem",
        )
    if isinstance(error, http_errors.NameResolutionError):
        return TryAgainError(f"the name of {where} cannot be resolved")
    if isinstance(error, http_errors.ConnectTimeoutError | http_errors.NewConnectionError):
        return TryAgainError(f"no connection to {where}")
    if isinstance(error, http_errors.ProxyError):
        return TryAgainError(f"the proxy gives no connection to {where}")
    if isinstance(error, http_errors.ReadTimeoutError | TimeoutError):
        return TryAgainError(f"{where} has gone silent")
    if isinstance(error, http_errors.LocationValueError):
        return UpstreamError(f"not a URL: {place(url)}")
    return TryAgainError(f"the connection to {where} broke")


def _certificate_refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__ or _inner(error)
    return False


def _inner(error: BaseException) -> BaseException | None:
    inner = error.args[-1] if error.args else None
    return inner if isinstance(inner, BaseException) else None
