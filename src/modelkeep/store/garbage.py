"""Decides what of a store is garbage, and takes it away.

`plan` is a pure function of an `Inventory`; `execute` looks at each thing again before it goes, so
that a plan may be as old as it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelkeep.store.condemned import release
from modelkeep.store.inventory import Inventory, Unused
from modelkeep.store.leases import Lease, unknown_hold
from modelkeep.store.roots import ReferenceIndex
from modelkeep.store.store import Store
from modelkeep.store.sweep import DAY_NS, Leftover, discard

_MINUTE_NS = 60 * 10**9
_HOUR_NS = 60 * _MINUTE_NS


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that stays, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Garbage:
    """What may go without anybody missing it."""

    blobs: tuple[Unused, ...]
    leftovers: tuple[Leftover, ...]
    leases: tuple[Lease, ...]
    kept: tuple[Kept, ...]

    @property
    def bytes(self) -> int:
        """What the disk gets back."""
        return sum(blob.bytes for blob in self.blobs) + sum(each.bytes for each in self.leftovers)


@dataclass(frozen=True, slots=True)
class Collected:
    """What became of garbage: bytes that came back, and what stays after all."""

    bytes_freed: int
    kept: tuple[Kept, ...]


def plan(inventory: Inventory) -> Garbage:
    """Decide what of a store is garbage: unused and idle for longer than its grace."""
    everything = _holds_everything(inventory)
    held = {digest for lease in inventory.held.leases for digest in lease.digests}
    gone: list[Unused] = []
    kept: list[Kept] = []
    for blob in inventory.unused:
        reason = everything
        if reason is None and blob.digest in held:
            reason = inventory.held.protects(blob.digest)
        reason = reason or _reason_to_keep(blob, inventory)
        if reason is None:
            gone.append(blob)
        else:
            kept.append(Kept(str(blob.digest), reason))
    dead = [each for each in inventory.leftovers if each.is_dead(inventory.now_ns)]
    kept += [
        Kept(str(each.path), _still_young(each))
        for each in inventory.leftovers
        if each.bytes and not each.is_dead(inventory.now_ns)
    ]
    return Garbage(
        blobs=tuple(sorted(gone, key=lambda blob: blob.idle_ns)),
        leftovers=tuple(dead),
        leases=inventory.held.expired,
        kept=tuple(kept),
    )


def execute(
    store: Store, garbage: Garbage, *, progress: Callable[[int], None] = lambda _: None
) -> Collected:
    """Take garbage away, each thing only if it still is. A crash leaves less garbage.

    `progress` is told the bytes of each thing. Nothing here needs room on the disk but the marks of
    `release`, and leftovers go first.
    """
    freed = 0
    kept: list[Kept] = []
    for leftover in garbage.leftovers:
        reason = discard(leftover)
        if reason is None:
            freed += leftover.bytes
        else:
            kept.append(Kept(str(leftover.path), reason))
        progress(leftover.bytes)
    for lease in garbage.leases:
        store.leases.drop(lease.id)  # to renew one is to write another
    references = ReferenceIndex(store.roots) if garbage.blobs else None
    for blob in garbage.blobs:
        assert references is not None
        reason = _used_since(store, blob)
        if reason is None:
            released = release(store, blob.digest, references)
            freed, reason = freed + released.bytes_freed, released.kept
        if reason is not None:
            kept.append(Kept(str(blob.digest), reason))
        progress(blob.bytes)
    return Collected(freed, tuple(kept))


def _holds_everything(inventory: Inventory) -> str | None:
    for root in inventory.unread:
        return f"what `{root}` uses cannot be read, so everything counts as in use"
    for path in inventory.held.unreadable:
        return unknown_hold(path)
    return None


def _reason_to_keep(blob: Unused, inventory: Inventory) -> str | None:
    if not blob.fetchable:
        return "no upstream is known to fetch it from again"
    idle = inventory.now_ns - blob.idle_ns
    if idle <= inventory.grace_ns:
        return f"nothing uses it, for less than {_span(inventory.grace_ns)}"
    return None


def _still_young(leftover: Leftover) -> str:
    return f"{leftover.kind}: changed less than {_span(leftover.lifetime_ns)} ago"


def _span(span_ns: int) -> str:
    for unit, length_ns in (("days", DAY_NS), ("hours", _HOUR_NS)):
        if span_ns > length_ns:
            return f"{span_ns // length_ns} {unit}"
    return f"{span_ns // _MINUTE_NS} minutes"


def _used_since(store: Store, blob: Unused) -> str | None:
    """Tell whether somebody touched a blob since it was looked at."""
    try:
        status = store.path(blob.digest).lstat()
    except FileNotFoundError:
        return "it is gone already"
    used = store.last_used(blob.digest)
    if max(status.st_ctime_ns, int((used or 0) * 1e9)) > blob.idle_ns:
        return "it was used just now"
    return None
