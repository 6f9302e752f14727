"""Default ACLs, checked with the system's own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelkeep.errors import AccessError
from modelkeep.fs import acl
from tests.filesystems import as_user, public_directory, ramfs, unavailable
from tests.fs.looking import mode_of

pytestmark = pytest.mark.real


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def test_what_is_made_inside_ignores_the_umask(disk: Path) -> None:
    assert acl.set_default(disk, 0o775)

    with umask(0o077):
        (disk / "a").mkdir()
        (disk / "a" / "b").mkdir()
        (disk / "a" / "b" / "file").touch()
        (disk / "own").touch(0o600)

    assert mode_of(disk / "a") & 0o777 == 0o775
    assert mode_of(disk / "a" / "b") & 0o777 == 0o775
    assert mode_of(disk / "a" / "b" / "file") == 0o664
    assert mode_of(disk / "own") == 0o600


def test_the_system_reads_what_was_set(disk: Path) -> None:
    if shutil.which("getfacl") is None:
        unavailable("getfacl is not installed")
    acl.set_default(disk, 0o770)

    shown = subprocess.run(
        ["getfacl", "--default", "--omit-header", "--absolute-names", disk],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert shown.split() == ["user::rwx", "group::rwx", "other::---"]


@pytest.mark.parametrize(
    ("entries", "mode"),
    [
        ("user::rwx,group::rwx,other::r-x", 0o775),
        ("user::rwx,group::rwx,group:0:rwx,mask::r-x,other::---", 0o750),
        ("user::rwx,user:0:rwx,group::r-x,mask::rwx,other::---", 0o750),
    ],
)
def test_what_the_system_set_is_read(disk: Path, entries: str, mode: int) -> None:
    if shutil.which("setfacl") is None:
        unavailable("setfacl is not installed")
    subprocess.run(["setfacl", "--default", "--modify", entries, disk], check=True)

    assert acl.default_mode(disk) == mode


def test_a_directory_without_one_has_none(disk: Path) -> None:
    assert acl.default_mode(disk) is None


def test_where_there_are_no_acls_nothing_is_set_and_that_is_said(tmp_path: Path) -> None:
    with ramfs(tmp_path) as directory:
        assert acl.set_default(directory, 0o775) is False
        assert acl.default_mode(directory) is None


def test_only_the_owner_sets_one() -> None:
    with public_directory() as folder, pytest.raises(AccessError, match="default ACL"):
        as_user(4242, lambda: acl.set_default(folder, 0o777))
