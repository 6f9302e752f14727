"""What is asked of a fetch, and what it says it did."""

from __future__ import annotations

import os
from dataclasses import dataclass

from modelkeep.store.digest import Digest

_DEFAULT_STALL_S = 20.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to fetch: where it is, and what it must turn out to be."""

    url: str
    """`{endpoint}/…/resolve/{commit}/{path}`."""
    digest: Digest
    size: int
    name: str
    """What people call it."""


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a fetch did."""

    bytes_fetched: int
    """Payload bytes that crossed the wire, repeated ones included."""
    bytes_resumed: int
    """Bytes kept from an earlier run."""
    files: int
    """Files fetched and delivered."""
    by_others: int
    """Files that arrived through another process meanwhile."""
    retries: int
    streams: int
    """Most connections that received at the same time."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a fetch goes on when the network does not."""

    connect: float = 10.0
    """Seconds to reach a server."""
    stall: float = _DEFAULT_STALL_S
    """Seconds without a byte after which a connection is given up."""
    attempts: int = 8
    """Failures in a row, without a single new byte of the file between them, that end the fetch."""
    first_delay: float = 0.5
    max_delay: float = 30.0
    max_retry_after: float = 300.0
    """Longest time a server may ask to be left alone."""

    @classmethod
    def from_environment(cls) -> Patience:
        """Return the default, with the stall time stock clients read from the environment."""
        try:
            stall = float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or _DEFAULT_STALL_S)
        except ValueError:
            stall = _DEFAULT_STALL_S
        return cls(stall=stall if stall > 0 else _DEFAULT_STALL_S)
