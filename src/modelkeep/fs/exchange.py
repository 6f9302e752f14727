"""Two names that change places in one step, so that neither is ever missing."""

from __future__ import annotations

import os
from pathlib import Path

from modelkeep.fs import oserrors

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(one: Path, other: Path) -> bool:
    """Let two names of one file system change places atomically, whatever they name.

    False, and nothing was done, where the system or the file system has no such call. Raises plain
    `OSError`.
    """
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    code = renameat2(
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(one)),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(other)),
        ctypes.c_uint(_RENAME_EXCHANGE),
    )
    if code == 0:
        return True
    number = ctypes.get_errno()
    error = OSError(number, os.strerror(number), os.fspath(one), None, os.fspath(other))
    if oserrors.is_capability(error):
        return False
    raise error
