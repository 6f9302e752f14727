"""Users and groups: their names, or numbers where there are none, and who the caller is."""

from __future__ import annotations

import os


def user_name(uid: int) -> str | None:
    """Return a user's name, None where there is none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def user(uid: int) -> str:
    """Return a user's name, `uid 4242` where there is none."""
    return user_name(uid) or f"uid {uid}"


def group(gid: int) -> str:
    """Return a group's name, its number where there is none."""
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def is_member(gid: int) -> bool:
    """Tell whether the caller is in a group; root is in those it was given, like anybody."""
    return gid == os.getegid() or gid in os.getgroups()


def joining(gid: int) -> str:
    """Return what brings the caller into a group: what root types, or how a container starts."""
    import grp
    from shlex import quote

    user = user_name(os.geteuid())
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        user = None
    if user is None:
        return f"start the container with --group-add {gid}"
    if user in group.gr_mem:
        return f"you joined it after you logged in: newgrp {quote(group.gr_name)}"
    return (
        f"usermod -aG {quote(group.gr_name)} {quote(user)} as root, then log in anew;"
        f" in a container: --group-add {gid}"
    )


def may_read(uid: int, path: str) -> bool:
    """Tell root whether a user gets to a file, by asking in a process of that user."""
    child = os.fork()
    if child == 0:
        try:
            become(uid)
            os._exit(0 if os.access(path, os.R_OK) else 1)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def become(uid: int) -> str | None:
    """Let root go on for good as a user: ids, groups and home. The name; None for no such user."""
    import pwd

    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        return None
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(uid)
    os.environ["HOME"] = account.pw_dir
    return account.pw_name
