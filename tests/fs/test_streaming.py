"""Reading whole files without changing what is in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkeep.fs import streaming
from modelkeep.fs.streaming import NotRegularError, Pass, opened
from tests.filesystems import loop

SIZE = 5 << 20


def read_through(path: Path) -> None:
    with opened(path, follow=False) as descriptor:
        one_pass = Pass(descriptor, SIZE)
        while data := os.read(descriptor, 1 << 20):
            one_pass.advanced(len(data))


def in_memory(path: Path) -> bool:
    with opened(path, follow=False) as descriptor:
        return streaming._in_memory(descriptor, SIZE)


def forget(path: Path) -> None:
    with opened(path, follow=False) as descriptor:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.real
def test_only_what_was_in_memory_before_is_in_memory_after(tmp_path: Path) -> None:
    with loop(tmp_path, "ext4", 32) as disk:
        path = disk / "file"
        path.write_bytes(os.urandom(SIZE))
        read_through(path)
        assert in_memory(path)

        forget(path)
        read_through(path)
        assert not in_memory(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    with opened(tmp_path / "link", follow=True) as descriptor:
        assert os.read(descriptor, 1) == b"x"
    for name, said in (("link", "symbolic link"), ("pipe", "no file"), (".", "folder")):
        with pytest.raises(NotRegularError, match=said), opened(tmp_path / name, follow=False):
            pass
