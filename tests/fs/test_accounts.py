"""Whose account it is, and what another user gets to."""

from __future__ import annotations

import os

from modelkeep.fs import accounts
from tests.filesystems import need_root, public_directory


def test_root_asks_whether_a_user_gets_to_a_file() -> None:
    need_root()
    with public_directory() as top:
        closed = top / "closed"
        closed.mkdir(mode=0o700)
        for place in (top, closed):
            (place / "file").write_text("x")
            (place / "file").chmod(0o644)
        assert accounts.may_read(1, f"{top}/file")
        assert not accounts.may_read(1, f"{closed}/file")
        assert os.geteuid() == 0
