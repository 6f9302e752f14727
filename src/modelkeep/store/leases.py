"""Leases and pins: what is in use, or wanted, whatever else refers to it.

A lease is one JSON file that never changes: to renew it is to write another one and to remove the
first, so nobody who removes an expired lease can meet one that was renewed meanwhile. Time is the
file system's own. What cannot be read holds everything.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from shlex import quote

from modelkeep.errors import AccessError, ModelkeepError, UsageError
from modelkeep.fs import accounts, durable
from modelkeep.fs.clock import now_ns
from modelkeep.fs.identity import ProcessId, is_running
from modelkeep.fs.oserrors import explained
from modelkeep.fs.reading import read_small
from modelkeep.fs.syncpoint import reach
from modelkeep.store.digest import Digest
from modelkeep.store.layout import StoreLayout
from modelkeep.times import utc_seconds, utc_text

_FORMAT = 1
_SUFFIX = ".json"

LIFETIME_S = 86_400.0
"""How long a lease holds where nobody can tell whether its owner lives."""

_MARGIN_S = 300.0  # on JuiceFS each node stamps files with its own clock


class Kind(StrEnum):
    """Whether something is held for a while, or until a person changes his mind."""

    LEASE = "lease"
    PIN = "pin"


@dataclass(frozen=True, slots=True)
class Lease:
    """One hold: on a name whose meaning the store does not know, and on contents.

    Times are ISO 8601 UTC by the file system's clock. `expires_at` is None for what has no end;
    `owner` is None where no process stands behind it. `user` made it; `reason` is his, or the
    command that runs.
    """

    id: str
    kind: Kind
    name: str
    digests: frozenset[Digest]
    owner: ProcessId | None
    user: str
    created_at: str
    expires_at: str | None
    reason: str

    def __str__(self) -> str:
        """Say for a person who holds it and why: `pinned by alice: for the demo`."""
        what = "pinned" if self.kind is Kind.PIN else "in use"
        who = f"{what} by {self.user}"
        if self.owner is not None:
            who += f", process {self.owner.pid} on {self.owner.host}"
        return f"{who}: {self.reason}" if self.reason else who


@dataclass(frozen=True, slots=True)
class Held:
    """Everything that was held at one moment of the file system's clock.

    `expired` no longer hold anything, `unreadable` are files that may hold anything.
    """

    leases: tuple[Lease, ...]
    expired: tuple[Lease, ...]
    unreadable: tuple[Path, ...]

    def protects(self, digest: Digest) -> str | None:
        """Return why a content has to stay, in words for a person; None where nothing holds it."""
        for path in self.unreadable:
            return unknown_hold(path)
        for lease in self.leases:
            if digest in lease.digests:
                return str(lease)
        return None

    def named(self, name: str) -> tuple[Lease, ...]:
        """Return the leases on a name or on one of its revisions, `<name>@<revision>`.

        Look at `unreadable`, too: what cannot be read may hold any name.
        """
        return tuple(lease for lease in self.leases if lease.name.partition("@")[0] == name)


def file_id(path: Path) -> str:
    """Return the id by which a file among the leases can be dropped."""
    return path.name.removesuffix(_SUFFIX)


def unknown_hold(path: Path) -> str:
    """Say that a lease cannot be read."""
    return f"perhaps in use: the lease `{file_id(path)}` cannot be read"


def letting_go(path: Path) -> str:
    """Return what a person types to end a lease that cannot be read."""
    return (
        f"rm -r {quote(str(path))}"
        if _is_folder(path)
        else f"modelkeep leases --drop {file_id(path)}"
    )


class Leases:
    """All leases of one store. Any number of processes, users and nodes may use them at once."""

    def __init__(self, layout: StoreLayout) -> None:
        self._directory = layout.leases
        self._tmp = layout.tmp
        self._known: dict[str, Lease] = {}

    def take(
        self,
        name: str,
        digests: Iterable[Digest],
        *,
        kind: Kind = Kind.LEASE,
        reason: str = "",
        owner: ProcessId | None = None,
        lifetime_s: float | None = LIFETIME_S,
    ) -> Lease:
        """Write a lease durably; None for `lifetime_s` is one without end.

        It holds from now on. What a collector had condemned before may still go: wait out the marks
        and look whether everything is there. A crash leaves the lease, or nothing but a temporary
        file.
        """
        now = now_ns(self._tmp) / 1e9
        lease = Lease(
            id=durable.unique_name(),
            kind=kind,
            name=name,
            digests=frozenset(digests),
            owner=owner,
            user=current_user(),
            created_at=utc_text(now),
            expires_at=None if lifetime_s is None else utc_text(now + lifetime_s),
            reason=_line(reason),
        )
        self._write(lease)
        return lease

    def renew(self, lease: Lease, *, lifetime_s: float = LIFETIME_S) -> Lease:
        """Hold the same for longer; the lease returned, under another id, replaces the old one."""
        renewed = self.take(
            lease.name,
            lease.digests,
            kind=lease.kind,
            reason=lease.reason,
            owner=lease.owner,
            lifetime_s=lifetime_s,
        )
        reach("lease:renewed")
        self.drop(lease.id)
        return renewed

    def drop(self, id: str) -> bool:  # noqa: A002 - what it is
        """End a lease, readable or not. False: there is none with this id.

        UsageError for a folder in the place of one: who knows what it holds.
        """
        if not id or id.startswith(".") or "/" in id:
            return False
        # A file of another name is no lease of ours, and still holds everything.
        paths = [self._directory / name for name in (f"{id}{_SUFFIX}", id)]
        for path in paths:
            if _is_folder(path):
                raise UsageError(
                    f"`{path}` is a folder, not a lease",
                    hint=f"look at what is in it, then: {letting_go(path)}",
                    path=path,
                )
        gone = any(map(durable.remove, paths))
        reach("lease:removed")
        if gone:
            durable.sync_dir(self._directory)
        return gone

    def tidy(self) -> None:
        """Remove what has ended, so that it does not pile up. Nothing depends on it."""
        for lease in self.look().expired:
            with suppress(ModelkeepError):  # what one may not remove is left for a collector
                durable.remove(self._directory / f"{lease.id}{_SUFFIX}")

    def look(self) -> Held:
        """Return what is held now."""
        return self._judged(lambda _: True)

    def protects(self, digest: Digest) -> str | None:
        """Return why a content has to stay now, None where nothing holds it.

        The same as `look().protects(digest)`, without a word about leases on other contents.
        """
        return self._judged(lambda lease: digest in lease.digests).protects(digest)

    def _judged(self, concerns: Callable[[Lease], bool]) -> Held:
        read, unreadable = self._read_all()
        concerned = [lease for lease in read if concerns(lease)]
        clock = cache(self._now)
        ended = {lease.id for lease in concerned if _has_ended(lease, clock)}
        return Held(
            leases=tuple(lease for lease in concerned if lease.id not in ended),
            expired=tuple(lease for lease in concerned if lease.id in ended),
            unreadable=tuple(unreadable),
        )

    def _read_all(self) -> tuple[list[Lease], list[Path]]:
        leases: dict[str, Lease] = {}
        unreadable = []
        with explained("looking for leases", self._directory):
            # Names that begin with a dot are what NFS and editors leave behind.
            names = sorted(n for n in os.listdir(self._directory) if not n.startswith("."))  # noqa: PTH208
        for name in names:
            lease = self._known.get(name)
            try:
                leases[name] = lease or _parse(name, read_small(self._directory / name))
            except FileNotFoundError:
                if (self._directory / name).is_symlink():
                    unreadable.append(self._directory / name)
                # else it ended just now
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                unreadable.append(self._directory / name)
        self._known = leases
        return list(leases.values()), unreadable

    def _write(self, lease: Lease) -> None:
        fields = {
            "format": _FORMAT,
            "kind": lease.kind,
            "name": lease.name,
            "digests": sorted(map(str, lease.digests)),
            "owner": asdict(lease.owner) if lease.owner else None,
            "user": lease.user,
            "created_at": lease.created_at,
            "expires_at": lease.expires_at,
            "reason": lease.reason,
        }
        path = self._directory / f"{lease.id}{_SUFFIX}"
        # Not beside it: a torn file there would hold everything.
        durable.write_bytes(path, json.dumps(fields, indent=1).encode() + b"\n", scratch=self._tmp)

    def _now(self) -> float:
        try:
            return now_ns(self._tmp) / 1e9
        except AccessError:
            return time.time()  # who cannot write cannot remove anything, either


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _has_ended(lease: Lease, clock: Callable[[], float]) -> bool:
    running = is_running(lease.owner) if lease.owner else None
    if running is not None:
        return not running
    return lease.expires_at is not None and clock() > utc_seconds(lease.expires_at) + _MARGIN_S


def _parse(name: str, data: bytes) -> Lease:
    """Read a lease; any of several errors where this version cannot."""
    fields = json.loads(data)
    if fields["format"] != _FORMAT or not name.endswith(_SUFFIX):
        raise ValueError
    owner, expires_at = fields["owner"], fields["expires_at"]
    for moment in (fields["created_at"], expires_at or fields["created_at"]):
        utc_seconds(moment)
    return Lease(
        id=file_id(Path(name)),
        kind=Kind(fields["kind"]),
        name=_line(fields["name"]),
        digests=frozenset(map(Digest.parse, fields["digests"])),
        owner=ProcessId(**{**owner, "pid": int(owner["pid"])}) if owner else None,
        user=_line(fields["user"]),
        created_at=fields["created_at"],
        expires_at=expires_at,
        reason=_line(fields["reason"]),
    )


def _line(text: str) -> str:
    """Return text as one line that does nothing to a terminal: commands of others are shown."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def current_user() -> str:
    """Return the name by which leases know the caller: the account's, or `uid 4242` without one."""
    return accounts.user(os.geteuid())
