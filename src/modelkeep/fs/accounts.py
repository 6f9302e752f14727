"""Names of users and groups; in a container, or for an account that is gone, their numbers."""

from __future__ import annotations


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
