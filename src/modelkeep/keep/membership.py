"""The group of a group keep: which one it is."""

from __future__ import annotations

import grp
import os
from pathlib import Path
from shlex import quote

from modelkeep.errors import AccessError, UsageError
from modelkeep.fs import accounts, sharing
from modelkeep.fs.oserrors import explained


def chosen(name: str | None) -> int:
    """Return the id of a group by its name or number, the caller's own where none is named.

    UsageError where there is no such group, AccessError where the caller may not give it files.
    """
    gid = os.getegid() if name is None else _id_of(name)
    if os.geteuid() != 0 and not accounts.is_member(gid):
        raise AccessError(
            f"you are not in the group `{accounts.group(gid)}`, so you cannot give it a keep",
            hint=f"let root make the keep, or join: {accounts.joining(gid)}",
        )
    return gid


def give(top: Path, gid: int) -> None:
    """Let a group, and nobody else, into a directory of the caller."""
    with explained("giving the keep to the group", top):
        if top.stat().st_gid != gid:
            os.chown(top, -1, gid)
    sharing.share(top, sharing.TOP)


def is_of(top: Path, name: str) -> bool:
    """Tell whether a keep belongs to the group of this name or number. Errors as of `chosen`."""
    with explained("looking at", top):
        gid = top.stat().st_gid
    return name in (str(gid), accounts.group(gid)) or chosen(name) == gid


def _id_of(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdecimal():  # in a container it may have no name
            return int(name)
        raise UsageError(
            f"there is no group `{name}`", hint=f"make it: groupadd {quote(name)}"
        ) from None
