"""Offline or online: who decides, in which order, and how long an answer is believed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from modelkeep.hub.repo import Repo, RepoType
from modelkeep.runtime import endpoint, offline
from modelkeep.runtime.endpoint import probe
from modelkeep.runtime.named import NamedModel
from modelkeep.runtime.offline import Decision, Verdict, decide
from tests.hub import Hub

MODEL = Repo(RepoType.MODEL, "org/name")
COMMIT = "a" * 40
COMPLETE = NamedModel("org/name", MODEL, COMMIT, 0)
PARTIAL = NamedModel("org/name", MODEL, COMMIT, 2)
ABSENT = NamedModel("org/name", MODEL)
UNKNOWN = NamedModel("org/name", MODEL, COMMIT, None)
DATA = NamedModel("datasets/org/data", Repo(RepoType.DATASET, "org/data"), COMMIT, 0)

REACHABLE = Verdict(True, "it answers", 0)
UNREACHABLE = Verdict(False, "it does not", 0)


def never() -> NoReturn:
    raise AssertionError("asked for nothing")


@pytest.mark.parametrize("wish", [True, False])
def test_a_wish_comes_first_and_nothing_else_is_asked(wish: bool) -> None:
    environ = {"HF_HUB_OFFLINE": "0" if wish else "1"}
    found = decide(wish, environ, read_only=never, named=[COMPLETE], verdict=never)
    assert found.value is wish


@pytest.mark.parametrize(
    ("environ", "value"),
    [
        ({"HF_HUB_OFFLINE": "1"}, True),
        ({"HF_HUB_OFFLINE": "yes"}, True),
        ({"HF_HUB_OFFLINE": "0"}, False),
        ({"TRANSFORMERS_OFFLINE": "1"}, True),
        ({"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"}, False),
        ({"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "1"}, True),
    ],
)
def test_then_the_variables_as_the_client_reads_them(environ: dict[str, str], value: bool) -> None:
    assert decide(None, environ, read_only=never, named=[], verdict=never).value is value


def test_then_a_keep_that_cannot_be_written() -> None:
    found = decide(None, {}, read_only=lambda: True, named=[ABSENT], verdict=never)
    assert found == Decision(True, "the keep is read-only")


def test_then_models_that_are_all_here() -> None:
    found = decide(None, {}, read_only=lambda: False, named=[COMPLETE, COMPLETE], verdict=never)
    assert found.value


@pytest.mark.parametrize("other", [PARTIAL, ABSENT, UNKNOWN, DATA])
@pytest.mark.parametrize("verdict", [REACHABLE, UNREACHABLE])
def test_one_that_may_need_the_network_leaves_it_to_the_endpoint(
    other: NamedModel, verdict: Verdict
) -> None:
    found = decide(
        None, {}, read_only=lambda: False, named=[COMPLETE, other], verdict=lambda: verdict
    )
    assert found == Decision(not verdict.reachable, verdict.reason)


def test_where_nothing_is_known_it_is_online() -> None:
    assert not decide(None, {}, read_only=lambda: False, named=[], verdict=lambda: None).value


# The probe


@contextmanager
def listening(backlog: int = 8) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield server


def url_of(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives one answer to everybody, and what it was asked."""
    asked: list[bytes] = []

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(65536))
                connection.sendall(answer)

    with listening() as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield url_of(server), asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("status", ["200 OK", "401 No", "404 Not Found", "500 Bad", "503 Busy"])
def test_any_answer_means_online(status: str) -> None:
    with answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as (url, asked):
        assert probe(url).reachable
    assert len(asked) == 1


def test_the_probe_is_one_request_without_a_token(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert probe(hub.endpoint).reachable
    (request,) = hub.requests
    assert request.method == "HEAD"
    assert "hf_secret" not in str(request)


def test_a_port_where_nobody_listens_is_known_at_once() -> None:
    with listening() as server:
        url = url_of(server)
    began = time.monotonic()
    found = probe(url)
    assert not found.reachable
    assert "refuses" in found.reason
    assert time.monotonic() - began < 0.3


def test_a_server_that_never_answers_costs_half_a_second() -> None:
    with listening() as server:
        began = time.monotonic()
        found = probe(url_of(server))
        elapsed = time.monotonic() - began
    assert not found.reachable
    assert 0.4 < elapsed < 1.0


def test_a_host_that_swallows_packets_costs_half_a_second() -> None:
    with listening(backlog=0) as server:
        # A full queue drops the next connection attempts, as a firewall does.
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        began = time.monotonic()
        found = probe(url_of(server))
        elapsed = time.monotonic() - began
        for client in waiting:
            client.close()
    assert not found.reachable
    assert elapsed < 1.0


def test_a_name_server_that_hangs_costs_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def hang(*_: object, **__: object) -> NoReturn:
        done.wait(10)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    assert not probe("http://hub.invalid").reachable
    assert time.monotonic() - began < 1.0
    done.set()


@pytest.mark.parametrize("url", ["hub.example", "ftp://hub.example", "", "http://", "http://[::"])
def test_what_is_no_address_is_not_reachable(url: str) -> None:
    assert not probe(url).reachable


def test_what_does_not_speak_http_is_not_reachable() -> None:
    with answering(b"220 mail\r\n") as (url, _):
        assert not probe(url).reachable


def test_a_proxy_is_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy.replace("http://", "http://ada:s%20cret@"))
        assert probe("http://hub.invalid/mirror").reachable
    assert asked[0].startswith(b"HEAD http://hub.invalid/mirror HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic YWRhOnMgY3JldA==" in asked[0]


@pytest.mark.parametrize("status", [b"403 No", b"407 Who", b"502 Bad", b"504 Late"])
def test_a_proxy_that_refuses_is_not_the_endpoint(
    monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    with answering(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as (proxy, _):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("https_proxy", proxy)
        assert not probe("http://hub.invalid").reachable
        assert not probe("https://hub.invalid").reachable


def test_no_proxy_is_respected(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert probe(hub.endpoint).reachable


def test_the_default_endpoint_is_that_of_the_client() -> None:
    from huggingface_hub import constants

    assert endpoint.default_endpoint() == constants.ENDPOINT


# What is remembered


def test_a_verdict_holds_for_a_minute(isolated: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(isolated)}
    offline.remember("http://a", environ, Verdict(False, "it is down", 1000.0))
    assert offline.remembered("http://a", environ, now=1059.0) == Verdict(False, "it is down", 1000)
    assert offline.remembered("http://a", environ, now=1061.0) is None
    assert offline.remembered("http://a", environ, now=900.0) is None


def test_a_verdict_holds_for_one_endpoint_and_its_proxies(isolated: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(isolated)}
    offline.remember("http://a", environ, Verdict(True, "it answers", time.time()))
    assert offline.remembered("http://a", environ)
    assert offline.remembered("http://b", environ) is None
    assert offline.remembered(None, environ) is None
    assert offline.remembered("http://a", environ | {"HTTP_PROXY": "http://p"}) is None


def test_a_verdict_is_private(isolated: Path) -> None:
    environ = {"HOME": str(isolated)}
    offline.remember(None, environ, Verdict(True, "it answers", time.time()))
    folder = isolated / ".cache" / "modelkeep-run"
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert offline.remembered(None, environ)


def test_a_place_that_cannot_be_written_is_no_error(isolated: Path) -> None:
    blocked = isolated / "file"
    blocked.write_text("")
    environ = {"XDG_CACHE_HOME": str(blocked)}
    offline.remember(None, environ, Verdict(True, "it answers", time.time()))
    assert offline.remembered(None, environ) is None


def test_damage_is_no_verdict(isolated: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(isolated)}
    offline.remember(None, environ, Verdict(True, "it answers", time.time()))
    (file,) = (isolated / "modelkeep").iterdir()
    file.write_bytes(b"\xff\xfe")
    assert offline.remembered(None, environ) is None
