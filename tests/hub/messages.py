"""What goes over a connection: requests as they are logged, responses before they are sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.hub.content import Blob


@dataclass(slots=True)
class Request:
    """One request as the origin saw it, and what it answered.

    `status` and `bytes_sent` (of the body) are final before the client can see the last byte;
    of a file in transfer, `bytes_sent` may run one chunk ahead.
    """

    origin: str
    method: str
    path: str
    """Percent-encoded, without the query."""
    query: str
    headers: Mapping[str, str]
    """Names in lower case; the value of `authorization` is kept out."""
    token: str | None
    connection: int
    """Number of the connection it came in on."""
    at: float
    """`time.monotonic()` when its head was complete."""
    body: bytes = b""
    status: int = 0
    bytes_sent: int = 0

    @property
    def authorized(self) -> bool:
        """Whether an `Authorization` header came with it."""
        return self.token is not None

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def user_agent(self) -> str:
        return self.headers.get("user-agent", "")

    def argument(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        return parse_qs(self.query).get(name, [default])[-1]


@dataclass(slots=True)
class Slice:
    """Part of a blob, to be sent as a body."""

    blob: Blob
    start: int
    length: int


@dataclass(slots=True)
class Response:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Slice = b""

    @property
    def length(self) -> int:
        return self.body.length if isinstance(self.body, Slice) else len(self.body)


def json_response(document: Any, *, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        200,
        {"Content-Type": "application/json; charset=utf-8", **(headers or {})},
        json.dumps(document, separators=(",", ":")).encode(),
    )


def error_response(
    status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An error the way the Hub words it: in headers for HEAD, in JSON for people."""
    response = Response(
        status,
        {
            "Content-Type": "application/json; charset=utf-8",
            "X-Error-Message": message,
            **({"X-Error-Code": code} if code else {}),
            **(headers or {}),
        },
    )
    response.body = json.dumps({"error": message}).encode()
    return response


def file_response(request: Request, blob: Blob, headers: Mapping[str, str]) -> Response:
    """All of a blob, or the single range that was asked for (206, or 416 past its end)."""
    base = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    wanted = request.range
    if_range = request.headers.get("if-range")
    if not wanted or "," in wanted or (if_range and if_range != base.get("ETag")):
        return Response(200, base, Slice(blob, 0, blob.size))
    bounds = _bounds(wanted, blob.size)
    if bounds is None:
        return Response(200, base, Slice(blob, 0, blob.size))
    start, end = bounds
    if start >= blob.size or start > end:
        return Response(416, {"Content-Range": f"bytes */{blob.size}"})
    base["Content-Range"] = f"bytes {start}-{end}/{blob.size}"
    return Response(206, base, Slice(blob, start, end - start + 1))


def _bounds(wanted: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a `Range` header; None where it is malformed and thus ignored."""
    unit, _, spec = wanted.partition("=")
    first, dash, last = spec.strip().partition("-")
    try:
        if unit.strip() != "bytes" or not dash:
            return None
        if not first:
            count = int(last)
            return (max(0, size - count), size - 1) if count else (size, size)
        return int(first), min(int(last), size - 1) if last else size - 1
    except ValueError:
        return None
