"""Asks an endpoint whether it is there: one HTTP request, half a second, no more."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from base64 import b64encode
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from modelkeep._version import __version__
from modelkeep.runtime.offline import Verdict

DEADLINE_S = 0.5
# Short enough that a second address is tried when packets to the first disappear.
_CONNECT_S = 0.24
_PORTS = {"http": 80, "https": 443}
# What a proxy answers in place of a server it cannot or will not reach.
_PROXY_FAILURES = frozenset({403, 407, 502, 503, 504})


def default_endpoint() -> str:
    """Return the endpoint of the installed Hub client.

    SettingsError where the client does not start with the variables of this process.
    """
    from modelkeep.hub.upstream import client_starting

    with client_starting():
        from huggingface_hub import constants
    return constants.ENDPOINT


def probe(endpoint: str, *, deadline: float = DEADLINE_S) -> Verdict:
    """Find out within `deadline` seconds, name lookup included, whether an endpoint answers.

    Any answer counts. Proxies of the environment are used, and are not taken for the endpoint. No
    token is sent.
    """
    name = endpoint.rpartition("://")[2].rpartition("@")[2] or "the endpoint"
    reasons: list[str | None] = []
    # Name lookup has no timeout of its own, so the asking is left behind when time is up.
    thread = threading.Thread(target=lambda: reasons.append(_ask(endpoint)), daemon=True)
    thread.start()
    thread.join(deadline)
    at = time.time()
    if not reasons:
        return Verdict(False, f"{name} did not answer within {deadline * 1000:.0f} ms", at)
    if reasons[0] is None:
        return Verdict(True, f"{name} answers", at)
    return Verdict(False, f"{name} cannot be reached: {reasons[0]}", at)


def _ask(endpoint: str) -> str | None:
    """Send the request; return why there was no answer, None for one."""
    try:
        url = urlsplit(endpoint)
        if url.scheme not in _PORTS or not url.hostname:
            return "it is not an http address"
        return _request(url, url.hostname, url.port or _PORTS[url.scheme])
    except socket.gaierror:
        return "its name is not known"
    except ConnectionRefusedError:
        return "it refuses connections"
    except TimeoutError:
        return "it does not answer"
    except (OSError, HTTPException, ValueError) as error:
        return " ".join(str(error).lower().split()) or type(error).__name__


def _request(url: SplitResult, host: str, port: int) -> str | None:
    proxy = _proxy_for(url.scheme, f"{host}:{port}")
    if proxy is not None and proxy.scheme != "http":
        _reach(proxy)
        return None
    path = url.path or "/"
    headers = {"User-Agent": f"modelkeep/{__version__}"}
    connection: HTTPConnection
    if url.scheme == "https":
        at = proxy or url
        connection = HTTPSConnection(
            str(at.hostname), at.port or _PORTS[at.scheme], timeout=_CONNECT_S, context=_context()
        )
        if proxy is not None:
            connection.set_tunnel(host, port, headers=_credentials(proxy))
    elif proxy is not None:
        connection = HTTPConnection(
            str(proxy.hostname), proxy.port or _PORTS[proxy.scheme], timeout=_CONNECT_S
        )
        path = f"http://{url.netloc.rpartition('@')[2]}{path}"
        headers |= _credentials(proxy)
    else:
        connection = HTTPConnection(host, port, timeout=_CONNECT_S)
    try:
        connection.connect()
        connection.sock.settimeout(DEADLINE_S)
        connection.request("HEAD", path, headers=headers)
        status = connection.getresponse().status
    finally:
        connection.close()
    if proxy is not None and url.scheme == "http" and status in _PROXY_FAILURES:
        return f"the proxy answered {status}"
    return None


def _context() -> ssl.SSLContext:
    """Return TLS settings that accept any certificate.

    Nothing secret is sent and nothing that arrives is used; loading the authorities would take a
    good part of the time there is.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _proxy_for(scheme: str, host: str) -> SplitResult | None:
    """Return the proxy that the environment names for a host."""
    proxies = getproxies_environment()
    address = proxies.get(scheme) or proxies.get("all")
    if not address or proxy_bypass(host, proxies):
        return None
    return urlsplit(address if "://" in address else f"http://{address}")


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _reach(proxy: SplitResult) -> None:
    """Connect to a proxy whose language (SOCKS, TLS) is not plain HTTP; being there must do."""
    port = proxy.port or _PORTS.get(proxy.scheme, 1080)
    socket.create_connection((str(proxy.hostname), port), _CONNECT_S).close()
