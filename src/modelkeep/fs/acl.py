"""Default ACLs of directories: what lets a group write whatever the umask of the one who creates.

The kernel hands POSIX ACLs over as an extended attribute, laid out in its user interface
`linux/posix_acl_xattr.h`: a little-endian 32-bit version, 2, then for each entry a 16-bit tag, 16
bits of permissions and a 32-bit id; the tags stand in `linux/posix_acl.h`. Where a directory has a
default ACL, the umask does not count for what is made in it, and directories made in it inherit it.
Linux only: elsewhere, and on file systems without ACLs, nothing is set and the answer says so.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from modelkeep.fs import oserrors
from modelkeep.fs.oserrors import explained

_ATTRIBUTE = "system.posix_acl_default"
_VERSION = 2
_USER_OBJ, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x04, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_HEADER, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")


def set_default(directory: int | Path, mode: int) -> bool:
    """Let what is made in a directory have the permissions of `mode` that its maker asks for.

    `directory` is a path or an open descriptor, and the caller owns it. False where the file system
    has no ACLs. An ACL of named users that was there before is replaced.
    """
    if not hasattr(os, "setxattr"):
        return False
    shown = directory if isinstance(directory, Path) else None
    with explained("setting a default ACL", shown):
        try:
            os.setxattr(directory, _ATTRIBUTE, _encoded(mode))
        except OSError as error:
            if oserrors.is_unsupported(error):
                return False
            raise
    return True


def default_mode(directory: int | Path) -> int | None:
    """Return what the default ACL of a directory grants, as a mode such as 0o775.

    None where it has none, or the file system has no ACLs. The group's bits are what its mask
    leaves; what is granted to named users and groups is left out.
    """
    if not hasattr(os, "getxattr"):
        return None
    shown = directory if isinstance(directory, Path) else None
    with explained("reading a default ACL", shown):
        try:
            return _decoded(os.getxattr(directory, _ATTRIBUTE))
        except OSError as error:
            if oserrors.is_unsupported(error) or oserrors.is_no_attribute(error):
                return None
            raise


def _encoded(mode: int) -> bytes:
    entries = ((_USER_OBJ, mode >> 6), (_GROUP_OBJ, mode >> 3), (_OTHER, mode))
    return _HEADER.pack(_VERSION) + b"".join(
        _ENTRY.pack(tag, permissions & 0o7, _NO_ID) for tag, permissions in entries
    )


def _decoded(value: bytes) -> int | None:
    body = value[_HEADER.size :]
    if value[: _HEADER.size] != _HEADER.pack(_VERSION) or len(body) % _ENTRY.size:
        return None
    granted: dict[int, int] = {tag: granted for tag, granted, _ in _ENTRY.iter_unpack(body)}
    group = granted.get(_GROUP_OBJ, 0) & granted.get(_MASK, 0o7)
    return granted.get(_USER_OBJ, 0) << 6 | group << 3 | granted.get(_OTHER, 0)
