"""Who may read what lies at a path, as far as modes say it."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Readers:
    """Everybody, or the members of some groups, besides the owner and root.

    Made of the modes of a file and of all folders above it: each must let a reader pass.
    """

    gates: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, folder: Path) -> Readers:
        """Return who can reach a folder; a path that cannot be looked at lets nobody pass."""
        gates = []
        real = Path(os.path.realpath(folder))
        for place in (real, *real.parents):
            try:
                status = place.stat()
            except OSError:
                return NOBODY
            # What passes through a folder needs its x bits: moved to where files have their r bits.
            gates.append(((stat.S_IMODE(status.st_mode) & 0o11) << 2, status.st_gid))
        return cls(tuple(gates))

    def through(self, mode: int, gid: int) -> Readers:
        """Return who of them may also read a file of this mode and group."""
        return Readers(((stat.S_IMODE(mode) & 0o44, gid), *self.gates))

    def everybody(self) -> bool:
        """Tell whether any user may read."""
        return all(mode & 0o04 for mode, _ in self.gates)

    def group(self, gid: int) -> bool:
        """Tell whether the members of a group may read."""
        return all(mode & (0o40 if gid == its else 0o04) for mode, its in self.gates)

    def beyond(self, others: Iterable[Readers]) -> str | None:
        """Say who may read here and could not read everywhere else; None for nobody."""
        others = list(others)
        if self.everybody() and not all(other.everybody() for other in others):
            return "every user of this machine"
        for gid in sorted({gid for _, gid in self.gates}):
            if self.group(gid) and not all(other.group(gid) for other in others):
                name = _shared(gid)
                if name is not None:
                    return f"the group {name}"
        return None


NOBODY = Readers(((0, 0),))


def _shared(gid: int) -> str | None:
    """Return a group's name; None for a group that is one user's own."""
    me = os.geteuid()
    try:
        user = pwd.getpwuid(me).pw_name
    except KeyError:
        user = ""
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return None if gid == me else str(gid)
    own = group.gr_name == user and set(group.gr_mem) <= {user}
    return None if own else group.gr_name
