"""What can go wrong on the way from the Hub, each as a small value."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import unquote

from tests.hub.messages import Request, Response, Slice, error_response


@dataclass(slots=True)
class Course:
    """How a response is sent: what its faults ask of the sender."""

    delay: float = 0.0
    rate: float | None = None
    """Bytes per second."""
    cut_at: int | None = None
    """Bytes of the body after which something happens: the connection closes, resets, hangs."""
    hang: float = 0.0
    """Seconds of silence at the cut."""
    close: bool = False
    reset: bool = False
    flip_bit: int | None = None
    """Bit of the body that is sent wrong, counted from the start of this body."""


class Fault:
    """One thing that goes wrong. A fault that finds nothing to spoil is not used up."""

    def concerns(self, request: Request, response: Response) -> bool:
        return True

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        """Change the response or its course; the response returned is the one sent."""
        return response


@dataclass(frozen=True)
class Status(Fault):
    """An error instead of the answer: 429 with Retry-After, 500, 502, 503, …"""

    status: int
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    """`X-Error-Code`."""

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        return error_response(self.status, f"fault {self.status}", code=self.code, headers=headers)


@dataclass(frozen=True)
class Headers(Fault):
    """Response headers are missing or other than they should be."""

    drop: tuple[str, ...] = ()
    set: Mapping[str, str] = field(default_factory=dict)

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        dropped = {name.lower() for name in (*self.drop, *self.set)}
        kept = {name: v for name, v in response.headers.items() if name.lower() not in dropped}
        return Response(response.status, {**kept, **self.set}, response.body)


@dataclass(frozen=True)
class WrongEtag(Fault):
    """The content is announced under another's name."""

    etag: str = "0" * 64

    def concerns(self, request: Request, response: Response) -> bool:
        return "ETag" in response.headers or "X-Linked-Etag" in response.headers

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        names = {"ETag", "X-Linked-Etag"} & response.headers.keys()
        changed = dict.fromkeys(names, f'"{self.etag}"')
        return Response(response.status, {**response.headers, **changed}, response.body)


@dataclass(frozen=True)
class ExpiredLink(Fault):
    """The CDN says that the signature of its URL has aged."""

    def concerns(self, request: Request, response: Response) -> bool:
        return request.origin == "cdn"

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        return expired()


@dataclass(frozen=True)
class RedirectLoop(Fault):
    """A redirect to where one already is."""

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        kept = {n: v for n, v in response.headers.items() if not n.startswith("Content-")}
        query = f"?{request.query}" if request.query else ""
        return Response(302, {**kept, "Location": f"{request.path}{query}"})


@dataclass(frozen=True)
class Delay(Fault):
    """The answer comes late."""

    seconds: float

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        course.delay += self.seconds
        return response


class BodyFault(Fault):
    """Concerns only responses that carry the content of a file."""

    def concerns(self, request: Request, response: Response) -> bool:
        return request.method == "GET" and isinstance(response.body, Slice)


@dataclass(frozen=True)
class Slow(BodyFault):
    """The body comes at so many bytes per second."""

    rate: float

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        course.rate = self.rate
        return response


@dataclass(frozen=True)
class Truncate(BodyFault):
    """The connection closes after `at` bytes of the body."""

    at: int

    def concerns(self, request: Request, response: Response) -> bool:
        return super().concerns(request, response) and response.length > self.at

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        course.cut_at, course.close = self.at, True
        return response


@dataclass(frozen=True)
class Stall(BodyFault):
    """Silence for `seconds` after `at` bytes of the body, then it goes on."""

    at: int = 0
    seconds: float = 3600.0

    def concerns(self, request: Request, response: Response) -> bool:
        return super().concerns(request, response) and response.length > self.at

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        course.cut_at, course.hang = self.at, self.seconds
        return response


@dataclass(frozen=True)
class Reset(Fault):
    """The connection is reset (RST) after `at` bytes of the body; at None, before any answer."""

    at: int | None = None

    def concerns(self, request: Request, response: Response) -> bool:
        if self.at is None:
            return True
        whole = request.method == "GET" and isinstance(response.body, Slice)
        return whole and response.length > self.at

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        course.cut_at, course.reset = self.at, True
        return response


@dataclass(frozen=True)
class FlipBit(BodyFault):
    """One bit of the file arrives flipped; its size and its announced name stay right.

    `bit` counts from the start of the file. A range without it is sent intact and does not use up
    the fault. Without `bit`, one in the range is drawn from `seed`.
    """

    bit: int | None = None
    seed: int = 0

    def concerns(self, request: Request, response: Response) -> bool:
        if not super().concerns(request, response) or not response.length:
            return False
        assert isinstance(response.body, Slice)
        start = response.body.start * 8
        return self.bit is None or start <= self.bit < start + response.length * 8

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        assert isinstance(response.body, Slice)
        if self.bit is None:
            course.flip_bit = random.Random(self.seed).randrange(response.length * 8)
        else:
            course.flip_bit = self.bit - response.body.start * 8
        return response


def expired() -> Response:
    """What a CDN answers to a link whose time has passed."""
    return Response(
        403,
        {"Content-Type": "application/xml"},
        b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
    )


@dataclass(slots=True)
class Planned:
    """A fault that waits for its requests; `hits` counts those it has spoiled."""

    pattern: str
    fault: Fault
    times: int | None
    origin: str | None
    method: str | None
    hits: int = 0


class FaultPlan:
    """The faults of one hub, in the order they were planned."""

    def __init__(self) -> None:
        self._planned: list[Planned] = []
        self._lock = threading.Lock()

    def add(self, planned: Planned) -> Planned:
        with self._lock:
            self._planned.append(planned)
        return planned

    def clear(self) -> None:
        with self._lock:
            self._planned.clear()

    def apply(self, request: Request, response: Response, course: Course) -> Response:
        """Spoil the response with every fault that is due for this request."""
        if not self._planned:
            return response
        path = unquote(request.path)
        with self._lock:
            for planned in self._planned:
                if _due(planned, request, path) and planned.fault.concerns(request, response):
                    planned.hits += 1
                    response = planned.fault.spoil(request, response, course)
        return response


def _due(planned: Planned, request: Request, path: str) -> bool:
    return (
        (planned.times is None or planned.hits < planned.times)
        and planned.origin in (None, request.origin)
        and planned.method in (None, request.method)
        and fnmatchcase(path, planned.pattern)
    )
