"""An HTTP/1.1 origin: keep-alive, one thread per connection, bodies by sendfile."""

from __future__ import annotations

import contextlib
import http
import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

from tests.hub.faults import Course
from tests.hub.messages import Request, Response, Slice

_CHUNK = 4 << 20
_BACKLOG = 4096
_HEAD_LIMIT = 64 * 1024
_REASONS = {int(status): status.phrase for status in http.HTTPStatus}

Answer = Callable[[Request], tuple[Response, Course]]


class Origin:
    """One address and port that answers with what `answer` returns.

    `rate` limits each connection to so many bytes of body per second, evenly paced. While down,
    connections are refused and the port stays reserved.
    """

    def __init__(self, name: str, answer: Answer, host: str, port: int = 0) -> None:
        self.name = name
        self.host = host
        self.rate: float | None = None
        self._answer = answer
        self._lock = threading.Lock()
        self._live: dict[socket.socket, threading.Thread] = {}
        self._numbers = itertools.count(1)
        self._stopped = threading.Event()
        # Holds the port: connections go only to sockets that listen.
        self._reservation = _bound(host, port, shared=False)
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.port: int = self._reservation.getsockname()[1]
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def up(self) -> None:
        if self._listener is not None:
            return
        self._stopped = threading.Event()
        self._listener = _bound(self.host, self.port)
        self._listener.listen(_BACKLOG)
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener,), name=f"{self.name}-accept", daemon=True
        )
        self._acceptor.start()

    def down(self) -> None:
        """Refuse connections and reset those that are open."""
        if self._listener is None:
            return
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        assert self._acceptor is not None
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        with self._lock:
            live = list(self._live.items())
        for connection, _ in live:
            _abort(connection, socket.SHUT_RDWR)
        for _, thread in live:
            thread.join(10)

    def close(self) -> None:
        self.down()
        self._reservation.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._live[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = _Reader(self.name, next(self._numbers), connection)
        sender = _Sender(connection, self._stopped)
        try:
            while not self._stopped.is_set() and (request := reader.request()) is not None:
                response, course = self._answer(request)
                if course.rate is None:
                    course.rate = self.rate
                keep = sender.send(request, response, course)
                if not keep or request.headers.get("connection", "").lower() == "close":
                    break
        except OSError:
            pass  # the client went away, or the hub went down
        finally:
            with self._lock:
                self._live.pop(connection, None)
            connection.close()


class _Reader:
    """Requests of one connection, in order."""

    def __init__(self, origin: str, number: int, connection: socket.socket) -> None:
        self._origin = origin
        self._number = number
        self._connection = connection
        self._buffer = bytearray()

    def request(self) -> Request | None:
        """The next request; None when the client has no more or does not speak HTTP."""
        end = self._buffer.find(b"\r\n\r\n")
        while end < 0:
            if len(self._buffer) > _HEAD_LIMIT or not self._fill():
                return None
            end = self._buffer.find(b"\r\n\r\n")
        first, *lines = self._take(end + 4)[:-4].decode("latin-1").split("\r\n")
        try:
            method, target, _ = first.split(" ", 2)
        except ValueError:
            return None
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        size = int(headers.get("content-length", "0"))
        while len(self._buffer) < size:
            if not self._fill():
                return None
        token = headers.pop("authorization", None)
        if token is not None:
            token = token.removeprefix("Bearer ").strip()
        path, _, query = target.partition("?")
        now = time.monotonic()
        return Request(
            *(self._origin, method, path, query, headers, token, self._number, now),
            body=self._take(size),
        )

    def _fill(self) -> bool:
        data = self._connection.recv(_HEAD_LIMIT)
        self._buffer += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data


class _Sender:
    """Responses of one connection, paced and spoiled as their course says."""

    def __init__(self, connection: socket.socket, stopped: threading.Event) -> None:
        self._connection = connection
        self._stopped = stopped
        self._next_send = 0.0

    def send(self, request: Request, response: Response, course: Course) -> bool:
        """Send a response; whether the connection can be used again."""
        if course.delay and self._stopped.wait(course.delay):
            return False
        request.status = response.status
        if course.reset and course.cut_at is None:
            request.status = 0
            _abort(self._connection)
            return False
        head = _head(response)
        body = b"" if request.method == "HEAD" else response.body
        if isinstance(body, bytes):
            request.bytes_sent += len(body)
            self._connection.sendall(head + body)
            return True
        self._connection.sendall(head, socket.MSG_MORE if body.length else 0)
        return self._send_slice(request, body, course)

    def _send_slice(self, request: Request, body: Slice, course: Course) -> bool:
        whole = body.length
        cut = whole if course.cut_at is None else min(course.cut_at, whole)
        flipped = None if course.flip_bit is None else course.flip_bit // 8
        with _opened(body) as source:
            position = 0
            while position < whole:
                if position == cut and course.cut_at is not None and not self._cut(course):
                    return False
                # a chunk ends where something happens: at the cut, before and after a flipped byte
                stops = [whole, cut] + ([flipped, flipped + 1] if flipped is not None else [])
                stop = min(stop for stop in stops if stop > position)
                count = min(stop - position, self._pace(course.rate))
                request.bytes_sent += count
                if position == flipped:
                    assert course.flip_bit is not None
                    byte = body.blob.read(body.start + position, 1)[0] ^ 1 << course.flip_bit % 8
                    self._connection.sendall(bytes([byte]))
                else:
                    count = self._transfer(request, source, body.start + position, count)
                position += count
                self._book(count, course.rate)
        return True

    def _cut(self, course: Course) -> bool:
        """What happens at the cut; whether sending goes on after it."""
        if course.reset:
            _abort(self._connection)
            return False
        if course.hang and self._stopped.wait(course.hang):
            return False
        return not course.close

    def _transfer(self, request: Request, source: int | memoryview, offset: int, count: int) -> int:
        """Send up to `count` bytes of the source; how many it were."""
        if isinstance(source, memoryview):
            self._connection.sendall(source[offset : offset + count])
            return count
        sent = os.sendfile(self._connection.fileno(), source, offset, count)
        request.bytes_sent -= count - sent
        if sent == 0:
            raise OSError("the file became shorter while it was served")
        return sent

    def _pace(self, rate: float | None) -> int:
        """Wait for the next turn; how many bytes it allows."""
        if rate is None:
            return _CHUNK
        wait = self._next_send - time.monotonic()
        if wait > 0 and self._stopped.wait(wait):
            raise ConnectionAbortedError
        return max(1, min(int(rate / 50), _CHUNK))

    def _book(self, count: int, rate: float | None) -> None:
        if rate is not None:
            self._next_send = max(self._next_send, time.monotonic() - 0.02) + count / rate


@contextlib.contextmanager
def _opened(body: Slice) -> Iterator[int | memoryview]:
    """The source of a body: bytes in memory, or a descriptor for sendfile."""
    if isinstance(body.blob.source, bytes):
        yield memoryview(body.blob.source)
        return
    fd = os.open(body.blob.source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _head(response: Response) -> bytes:
    reason = _REASONS.get(response.status, "Unknown")
    lines = [f"HTTP/1.1 {response.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    if "Content-Length" not in response.headers:
        lines.append(f"Content-Length: {response.length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _bound(host: str, port: int, *, shared: bool = True) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _abort(connection: socket.socket, how: int = socket.SHUT_RD) -> None:
    """Make the next close send RST, and wake whoever reads from (or writes to) the socket."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(how)
