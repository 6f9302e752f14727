"""A stand-in Hugging Face Hub that tests, benchmarks and the demo run against.

    with Hub() as hub:
        repo = hub.repo("org/tiny")
        commit = repo.commit({"config.json": b"{}", "model.safetensors": Path("…")})
        hub.fault("*.safetensors", Truncate(at=1000), origin="cdn")

It implements the Hub's contract by itself and imports nothing of modelkeep.
"""

from __future__ import annotations

from tests.hub.content import Blob, File
from tests.hub.faults import (
    Delay,
    ExpiredLink,
    Fault,
    FlipBit,
    Headers,
    RedirectLoop,
    Reset,
    Slow,
    Stall,
    Status,
    Truncate,
    WrongEtag,
)
from tests.hub.hub import Hub
from tests.hub.messages import Request
from tests.hub.repos import Commit, Repository

__all__ = [
    "Blob",
    "Commit",
    "Delay",
    "ExpiredLink",
    "Fault",
    "File",
    "FlipBit",
    "Headers",
    "Hub",
    "RedirectLoop",
    "Repository",
    "Request",
    "Reset",
    "Slow",
    "Stall",
    "Status",
    "Truncate",
    "WrongEtag",
]
