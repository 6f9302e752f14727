"""How a removal is shown to a person, and how he is asked: `rm` and `gc` do it alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from modelkeep.cli import human
from modelkeep.cli.confirm import agree
from modelkeep.cli.options import Invocation
from modelkeep.cli.table import Table
from modelkeep.hub.removal.remove import Removal, RemovedItem
from modelkeep.store.digest import GIT_SHA1, SHA256
from modelkeep.store.garbage import Kept

_NAMED = 3
_DIGESTS = (f"{SHA256}:", f"{GIT_SHA1}:")
_KINDS = {
    "temporary": ("temporary file", "temporary files"),
    "trash": ("file in the trash", "files in the trash"),
}


def ask(invocation: Invocation, remove: Sequence[RemovedItem], bytes_planned: int) -> None:
    """Show what goes and return if a person agrees."""
    lines = planned(remove).plain()[1:]
    agree(invocation, lines, f"remove these, up to {human.size(bytes_planned)}?")


def planned(remove: Iterable[RemovedItem]) -> Table:
    """Return a table of what goes: revisions one by one, all else counted by kind and reason."""
    groups: dict[tuple[str, str], list[RemovedItem]] = {}
    rows = []
    for item in remove:
        if item.kind == "revision":
            used = human.ago(item.last_used)
            rows.append((human.revision(item.name), human.size(item.bytes), used, item.reason))
        else:
            groups.setdefault((item.kind, item.reason), []).append(item)
    for (kind, reason), items in groups.items():
        youngest = max((item.last_used for item in items if item.last_used), default=None)
        size = human.size(sum(item.bytes for item in items))
        rows.append((_counted(len(items), kind), size, human.ago(youngest), reason))
    return Table(("remove", "size", "used", "reason"), rows, right=frozenset({"size"}))


def _counted(count: int, kind: str) -> str:
    one, many = _KINDS.get(kind, (kind, f"{kind}s"))
    return f"{count:,} {one if count == 1 else many}"


def kept_lines(kept: Iterable[Kept]) -> Iterator[str]:
    """Yield a line for each reason for which something stays."""
    by_reason: dict[str, list[str]] = {}
    for item in kept:
        by_reason.setdefault(item.reason, []).append(item.name)
    for reason, found in by_reason.items():
        names = [name for name in found if not name.startswith(_DIGESTS)]
        if blobs := len(found) - len(names):
            yield f"kept {_counted(blobs, 'blob')}: {reason}"
        if not names:
            continue
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        yield f"kept {', '.join(map(human.revision, names[:_NAMED]))}{more}: {reason}"


def foreseen(verb: str, removal: Removal) -> str:
    """Say what a dry run found: what would come back, and what later."""
    later = removal.bytes_pending
    waiting = f", and {human.size(later)} when others let go" if later else ""
    return f"would {verb} {human.size(removal.bytes_planned)}{waiting}; nothing was changed"


def conclusion(bytes_freed: int, bytes_pending: int) -> str:
    """Say what came back and what will."""
    waiting = f"; {human.size(bytes_pending)} when others let go" if bytes_pending else ""
    return f"freed {human.size(bytes_freed)}{waiting}"
