"""Who is writing, for records that outlive a process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, told apart from every other that ever had its pid.

    `boot` and `pid_namespace` are empty where the system does not tell them (macOS); `start` is the
    kernel's start time of the process in clock ticks since boot, as text, or empty.
    """

    host: str
    boot: str
    pid_namespace: str
    pid: int
    start: str


def current() -> ProcessId:
    """Return the identity of the calling process."""
    pid = os.getpid()
    seen_here = _link("self") == str(pid)  # /proc may be the one of another pid namespace
    return ProcessId(
        host=os.uname().nodename,
        boot=_text("sys/kernel/random/boot_id"),
        pid_namespace=_link("self/ns/pid") if seen_here else "",
        pid=pid,
        start=_stat(pid).start if seen_here else "",
    )


def is_running(owner: ProcessId) -> bool | None:
    """Tell whether that process runs; None where that cannot be known from here.

    Only a process of this host, this boot and this pid namespace can be judged; all others are for
    the caller to judge by time.
    """
    me = current()
    if owner.pid <= 0 or not (me.boot and me.pid_namespace):
        return None
    if (owner.host, owner.boot, owner.pid_namespace) != (me.host, me.boot, me.pid_namespace):
        return None
    try:
        # /proc may hide other users' processes (hidepid); a signal tells them from dead ones.
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    except OverflowError:
        return None
    now = _stat(owner.pid)
    if now.ended:
        return False
    return now.start == owner.start if now.start and owner.start else None


def mount_namespace() -> str:
    """Return what tells this process's view of mounts from others on the host; empty if unknown."""
    return _link("self/ns/mnt")


@dataclass(frozen=True, slots=True)
class _Stat:
    start: str
    ended: bool


def _stat(pid: int) -> _Stat:
    # The second field is the command in brackets and may itself hold brackets and spaces.
    fields = _text(f"{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return _Stat(start="", ended=False)
    state, threads, start = fields[0], fields[17], fields[19]
    # A zombie whose other threads still run has not ended.
    return _Stat(start=start, ended=state in "ZX" and int(threads) <= 1)


def _text(name: str) -> str:
    try:
        return (_PROC / name).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _link(name: str) -> str:
    try:
        return os.readlink(_PROC / name)  # noqa: PTH115 - the text, not a path
    except OSError:
        return ""
