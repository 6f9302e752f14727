"""Offline or online: decided once, before a command starts, and always with the reason.

A loader that is offline by mistake cannot fetch; one that is online by mistake waits minutes for a
network that is not there. So a wish comes first, then what the keep can tell, and only then one
quick question to the endpoint, whose answer is remembered for a minute.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkeep.runtime.places import cache_home

if TYPE_CHECKING:
    from modelkeep.runtime.named import NamedModel

REMEMBERED_S = 60.0

# What huggingface_hub reads as true; everything else that is set means online.
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to be offline (`value`), and why."""

    value: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an endpoint answered at POSIX time `at`, and how that showed."""

    reachable: bool
    reason: str
    at: float


def decide(
    wish: bool | None,
    environ: Mapping[str, str],
    *,
    read_only: Callable[[], bool],
    named: Sequence[NamedModel],
    verdict: Callable[[], Verdict | None],
) -> Decision:
    """Decide for a command that is about to start.

    `wish` is True for offline, False for online, None where nobody said. `read_only` and `verdict`
    are asked only where the answer counts.
    """
    if wish is not None:
        return Decision(wish, "--offline was given" if wish else "--online was given")
    if (variable := _variable(environ)) is not None:
        name, value = variable
        return Decision(is_true(value), f"{name}={value} is set")
    if read_only():
        return Decision(True, "the keep is read-only")
    if named and all(model.loads_offline for model in named):
        return Decision(True, "all named models are complete")
    answer = verdict()
    if answer is None:
        return Decision(False, "nothing is known against it")
    return Decision(not answer.reachable, answer.reason)


def is_true(value: str) -> bool:
    """Tell whether huggingface_hub reads a variable's value as true."""
    return value.upper() in _TRUE


def remembered(
    endpoint: str | None, environ: Mapping[str, str], *, now: float | None = None
) -> Verdict | None:
    """Return what the endpoint was found to be in the last minute; None stands for unknown.

    `endpoint` None is the client's default. Verdicts hold for one set of proxy variables.
    """
    path = _verdict_file(endpoint, environ)
    try:
        with open(path, encoding="utf-8") as file:
            at = os.fstat(file.fileno()).st_mtime
            answer, _, reason = file.read(4096).partition(" ")
    except (OSError, UnicodeDecodeError):
        return None
    age = (time.time() if now is None else now) - at
    # A time in the future is a clock that was set back.
    if not 0 <= age < REMEMBERED_S or answer not in ("online", "offline"):
        return None
    return Verdict(answer == "online", reason, at)


def remember(endpoint: str | None, environ: Mapping[str, str], verdict: Verdict) -> None:
    """Keep a verdict for the commands of the next minute; a place that cannot be written is fine.

    Concurrent writers leave one whole verdict.
    """
    path = _verdict_file(endpoint, environ)
    temporary = f"{path}.{os.urandom(8).hex()}"
    text = f"{'online' if verdict.reachable else 'offline'} {verdict.reason}"
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, text.encode())
            os.utime(descriptor, (verdict.at, verdict.at))
        finally:
            os.close(descriptor)
        os.replace(temporary, path)


def _variable(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that decides, as huggingface_hub looks for it: empty counts as unset."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if value := environ.get(name):
            return name, value
    return None


def _verdict_file(endpoint: str | None, environ: Mapping[str, str]) -> str:
    proxies = [environ.get(name) or environ.get(name.upper()) or "" for name in _PROXIES]
    key = zlib.crc32("\0".join([endpoint or "", *proxies]).encode("utf-8", "surrogateescape"))
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        folder = os.path.join(runtime, "modelkeep")
    else:
        folder = os.path.join(cache_home(environ), "modelkeep-run")
    return os.path.join(folder, f"endpoint-{key:08x}")
