"""Bytes and names on the disk: whole, once, and with the mode that was asked for."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.errors import AccessError, ModelkeepError
from modelkeep.fs import durable
from tests.filesystems import as_user, public_directory
from tests.fs.looking import mode_of, names


@pytest.fixture
def strict_umask() -> Iterator[None]:
    old = os.umask(0o077)
    yield
    os.umask(old)


def test_unique_names_are_unique_and_keep_their_prefix() -> None:
    made = {durable.unique_name("part-") for _ in range(1000)}

    assert len(made) == 1000
    assert all(name.startswith("part-") for name in made)


def test_write_bytes_creates_and_replaces(disk: Path) -> None:
    path = disk / "file"

    durable.write_bytes(path, b"old")
    durable.write_bytes(path, b"new")

    assert path.read_bytes() == b"new"
    assert names(disk) == {"file"}


@pytest.mark.usefixtures("strict_umask")
def test_write_bytes_gives_the_exact_mode_whatever_the_umask(tmp_path: Path) -> None:
    durable.write_bytes(tmp_path / "file", b"", mode=0o664)

    assert mode_of(tmp_path / "file") == 0o664


def test_write_bytes_replaces_a_symbolic_link_and_leaves_what_it_pointed_at(
    tmp_path: Path,
) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("elsewhere")

    durable.write_bytes(tmp_path / "link", b"new")

    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    assert not (tmp_path / "link").is_symlink()


def test_write_bytes_can_build_in_another_directory(tmp_path: Path) -> None:
    scratch, refs = tmp_path / "scratch", tmp_path / "refs"
    scratch.mkdir()
    refs.mkdir()

    durable.write_bytes(refs / "main", b"commit", scratch=scratch)

    assert (refs / "main").read_bytes() == b"commit"
    assert names(scratch) == set()


def test_write_bytes_into_a_missing_directory_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.write_bytes(tmp_path / "no" / "file", b"")


def test_append_line_creates_the_file_with_its_mode_and_adds_in_order(disk: Path) -> None:
    path = disk / "refs"

    durable.append_line(path, "one", mode=0o664)
    durable.append_line(path, "two\nthree")

    assert path.read_text() == "one\ntwo\nthree\n"
    assert mode_of(path) == 0o664


def test_a_torn_line_stays_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "refs"
    path.write_text("whole\nto")

    durable.append_line(path, "next")

    assert path.read_text() == "whole\nto\nnext\n"


def test_append_line_does_not_follow_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    (tmp_path / "refs").symlink_to("target")

    with pytest.raises(ModelkeepError):
        durable.append_line(tmp_path / "refs", "line")

    assert (tmp_path / "target").read_text() == ""


def _append_many(path: Path, writer: int, lengths: list[int]) -> None:
    for index, length in enumerate(lengths):
        durable.append_line(path, f"{writer} {index} " + "x" * length)


@settings(max_examples=6, deadline=None)
@given(lengths=st.lists(st.lists(st.integers(0, 9000), max_size=8), min_size=2, max_size=3))
def test_concurrent_appenders_never_interleave(
    lengths: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("append") / "refs"
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=_append_many, args=(path, writer, some))
        for writer, some in enumerate(lengths)
    ]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
        assert process.exitcode == 0

    # A reader may meet empty lines: an appender that saw a half-visible file starts a new line.
    found = [line for line in path.read_text().splitlines() if line] if path.exists() else []
    for writer, some in enumerate(lengths):
        mine = [line for line in found if line.startswith(f"{writer} ")]
        assert mine == [f"{writer} {i} " + "x" * length for i, length in enumerate(some)]
    assert len(found) == sum(map(len, lengths))


def test_seal_takes_every_write_permission(disk: Path) -> None:
    path = disk / "part"
    path.write_bytes(b"x")

    durable.seal(path)

    assert mode_of(path) == 0o444


def test_seal_takes_a_descriptor_too(tmp_path: Path) -> None:
    path = tmp_path / "part"
    with path.open("wb") as file:
        durable.seal(file.fileno())

    assert mode_of(path) == 0o444


@pytest.mark.real
def test_sealing_a_file_of_somebody_else_says_whose_it_is() -> None:
    with public_directory() as shared:
        path = shared / "part"
        path.write_bytes(b"x")
        path.chmod(0o644)

        def seal() -> tuple[str, str | None]:
            with pytest.raises(AccessError) as caught:
                durable.seal(path)
            return caught.value.message, caught.value.hint

        message, hint = as_user(4242, seal)

    assert "sealing" in message
    assert hint is not None
    assert "belongs to uid 0" in hint


def test_publish_gives_the_final_name_and_takes_the_temporary_one(disk: Path) -> None:
    temporary, final = disk / "part", disk / "blob"
    temporary.write_bytes(b"content")

    assert durable.publish(temporary, final) is True

    assert final.read_bytes() == b"content"
    assert names(disk) == {"blob"}


def test_publish_never_replaces_what_is_there(disk: Path) -> None:
    temporary, final = disk / "part", disk / "blob"
    final.write_bytes(b"first")
    temporary.write_bytes(b"second")

    assert durable.publish(temporary, final) is False

    assert final.read_bytes() == b"first"
    assert names(disk) == {"blob"}


def test_publish_of_another_name_of_the_same_inode_leaves_one_name(disk: Path) -> None:
    temporary, final = disk / "part", disk / "blob"
    final.write_bytes(b"content")
    os.link(final, temporary)

    assert durable.publish(temporary, final) is False

    assert names(disk) == {"blob"}
    assert final.stat().st_nlink == 1


def test_publish_of_a_missing_file_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.publish(tmp_path / "gone", tmp_path / "blob")


def test_of_many_publishers_exactly_one_is_first(tmp_path: Path) -> None:
    final = tmp_path / "blob"
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def publish(number: int) -> None:
        temporary = tmp_path / durable.unique_name()
        temporary.write_bytes(b"same")
        results.put(durable.publish(temporary, final))

    processes = [context.Process(target=publish, args=(n,)) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert sorted(results.get() for _ in processes) == [False] * 7 + [True]
    assert names(tmp_path) == {"blob"}


@pytest.mark.parametrize("errno_name", ["EIO", "EEXIST", "EPERM"])
def test_a_link_whose_answer_was_lost_counts(
    errno_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server that does the work and loses the answer cannot be had on one machine.
    link = os.link

    def lossy(source: Path, target: Path) -> None:
        link(source, target)
        raise OSError(getattr(errno, errno_name), "lost", os.fspath(source))

    temporary, final = tmp_path / "part", tmp_path / "blob"
    temporary.write_bytes(b"content")
    monkeypatch.setattr(os, "link", lossy)

    assert durable.publish(temporary, final) is True

    assert names(tmp_path) == {"blob"}


def test_without_hard_links_publish_renames_and_still_never_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # FAT and many FUSE file systems answer EPERM; no such file system is sure to be installed.
    def refusing(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "no links", os.fspath(source))

    monkeypatch.setattr(os, "link", refusing)
    first, second, final = tmp_path / "a", tmp_path / "b", tmp_path / "blob"
    first.write_bytes(b"first")
    second.write_bytes(b"second")

    assert durable.publish(first, final) is True
    assert durable.publish(second, final) is False

    assert final.read_bytes() == b"first"
    assert names(tmp_path) == {"blob"}


def test_an_error_keeps_the_temporary_file_for_another_try(tmp_path: Path) -> None:
    temporary = tmp_path / "part"
    temporary.write_bytes(b"content")

    with pytest.raises(FileNotFoundError):
        durable.publish(temporary, tmp_path / "no" / "blob")

    assert temporary.read_bytes() == b"content"


def test_make_dirs_creates_parents_and_tolerates_what_exists(disk: Path) -> None:
    durable.make_dirs(disk / "a" / "b" / "c")
    durable.make_dirs(disk / "a" / "b" / "c")

    assert (disk / "a" / "b" / "c").is_dir()


def test_make_dirs_over_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")

    with pytest.raises(ModelkeepError, match="creating a directory"):
        durable.make_dirs(tmp_path / "a" / "b")


def test_make_dirs_where_nothing_can_be_made_is_an_error() -> None:
    with pytest.raises(AccessError, match="cannot be created here"):
        durable.make_dirs(Path("/proc/nowhere/a/b"))


def test_make_dirs_in_a_directory_that_was_removed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(AccessError, match="cannot be created here"):
        durable.make_dirs(Path("keep/store"))


def test_remove_says_whether_it_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    assert durable.remove(tmp_path / "file") is True
    assert durable.remove(tmp_path / "file") is False
