"""Connections as users of curl and requests expect them: proxies, certificates, and a stop."""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Timeout

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Connections:
    """Keep-alive connections to any origin, through the proxies the environment names.

    Safe to use from several threads. Follows no redirects and retries nothing. After `abort` every
    request, running or new, fails with `OSError` or an error of urllib3.
    """

    def __init__(self, *, kept: int, connect_timeout: float, read_timeout: float) -> None:
        self._kept = kept
        self._timeout = Timeout(connect=connect_timeout, read=read_timeout)
        self._managers: dict[tuple[str | None, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._open: WeakSet[HTTPConnection] = WeakSet()
        self._aborted = False

    def get(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Ask for `url`; the response's body has not been read."""
        if self._aborted:
            raise ConnectionAbortedError("stopped")
        return self._manager(url).urlopen(
            "GET",
            url,
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=self._timeout,
        )

    def abort(self) -> None:
        """Wake every thread that waits for a server, and refuse new requests."""
        self._aborted = True
        for connection in list(self._open):
            if (sock := connection.sock) is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # closed meanwhile: nobody waits on it

    def close(self) -> None:
        """Close all connections. No thread may be using them."""
        for manager in self._managers.values():
            manager.clear()
        for connection in list(self._open):
            connection.close()

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_for(url)
        tls = any(address.lower().startswith("https:") for address in (url, proxy or ""))
        with self._lock:
            manager = self._managers.get((proxy, tls))
            if manager is None:
                manager = self._managers[proxy, tls] = self._new_manager(proxy, tls=tls)
            return manager

    def _new_manager(self, proxy: str | None, *, tls: bool) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": self._kept}
        if tls:
            options["ssl_context"] = _LazyContext.shared()
        manager: urllib3.PoolManager
        if proxy is None:
            manager = urllib3.PoolManager(**options)
        else:
            parts = urlsplit(proxy)
            if parts.username:
                credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=credentials)
            manager = urllib3.ProxyManager(proxy, **options)
        manager.pool_classes_by_scheme = _tracking_pools(self._open.add)
        return manager


class _LazyContext:
    """The TLS settings of this process; reading the certificates costs tens of milliseconds."""

    _context: ssl.SSLContext | None = None
    _lock = threading.Lock()

    @classmethod
    def shared(cls) -> ssl.SSLContext:
        with cls._lock:
            if cls._context is None:
                cls._context = tls_context()
            return cls._context


def tls_context() -> ssl.SSLContext:
    """Return TLS settings that trust what the environment names, else the system and certifi."""
    context = urllib3.util.create_urllib3_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    for variable in _CA_VARIABLES:
        if path := os.environ.get(variable):
            if Path(path).is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
            return context
    context.load_default_certs()
    if importlib.util.find_spec("certifi"):
        # Slim containers have no certificates of their own; the clients around us bring these.
        certifi = importlib.import_module("certifi")
        context.load_verify_locations(cafile=certifi.where())
    return context


def proxy_for(url: str) -> str | None:
    """Return the proxy the environment names for a URL: HTTPS_PROXY, ALL_PROXY, NO_PROXY."""
    parts = urlsplit(url)
    proxies = getproxies()
    host = parts.netloc.rpartition("@")[2]
    if proxy_bypass(host):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy or None


def _tracking_pools(opened: Callable[[HTTPConnection], None]) -> dict[str, Any]:
    class TrackedHTTP(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            opened(self)

    class TrackedHTTPS(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            opened(self)

    class HTTPPool(urllib3.HTTPConnectionPool):
        ConnectionCls = TrackedHTTP

    class HTTPSPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = TrackedHTTPS

    return {"http": HTTPPool, "https": HTTPSPool}
