"""Replaces damaged files of a cache by verified ones: each by one rename, owner and mode kept."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from modelkeep.errors import AccessError
from modelkeep.fs import durable
from modelkeep.fs.oserrors import explained
from modelkeep.fs.syncpoint import reach


def new_name(path: Path) -> Path:
    """Return a name beside `path` for what will replace it; AccessError where one cannot write."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _not_allowed(path)
    return durable.temporary_beside(path)


def link(good: Path, temporary: Path) -> bool:
    """Give a good file a further name; False where that cannot be done between these places."""
    try:
        os.link(good, temporary)
    except OSError:
        return False
    return True


def put(temporary: Path, path: Path) -> None:
    """Let a verified file take the place of `path`, or be there where nothing is.

    A reader sees the old file or the new. AccessError, and `path` is as it was, where the owner or
    the group of the file cannot be kept. A crash leaves the old file, or the new one, and perhaps
    a temporary name beside it. `temporary` is gone in any case but a crash.
    """
    try:
        with explained("repairing", path):
            _resemble(temporary, path)
            reach("repair:sealed")
            durable.rename(temporary, path)
        durable.sync_dir(path.parent)
        reach("repair:replaced")
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _resemble(temporary: Path, path: Path) -> None:
    try:
        like = path.lstat()
        mode = stat.S_IMODE(like.st_mode)
    except FileNotFoundError:
        like = path.parent.stat()
        mode = stat.S_IMODE(like.st_mode) & 0o444 | 0o200
    mine = temporary.lstat()
    if mine.st_nlink > 1:
        return  # another name of a sealed file, which stays as it is
    if (mine.st_uid, mine.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.chown(temporary, like.st_uid, like.st_gid, follow_symlinks=False)
        except PermissionError as error:
            if mine.st_uid != like.st_uid:
                raise _not_allowed(path) from error
    descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        durable.set_mode(descriptor, mode)
        durable.sync_file(descriptor)
    finally:
        os.close(descriptor)


def _not_allowed(path: Path) -> AccessError:
    owner = "somebody else"
    with suppress(OSError):
        owner = f"uid {path.parent.lstat().st_uid}"
    return AccessError(
        f"`{path}` belongs to {owner}",
        hint="run it as that user, or as root: modelkeep verify --cache DIR --repair",
        path=path,
    )
