"""A file system that cannot be written, and a directory that this caller may not write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelkeep.errors import AccessError, ReadOnlyError
from modelkeep.fs import clock, durable, locks, probe
from modelkeep.fs.links import Linker, LinkMode
from tests.filesystems import as_user, loop, public_directory, read_only
from tests.fs.looking import names

pytestmark = pytest.mark.real


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A read-only mount with a file, a sealed one and a lock file."""
    with loop(tmp_path, "ext4") as directory:
        (directory / "file").write_bytes(b"old")
        (directory / "lock").touch()
        with read_only(directory):
            yield directory


WRITING: dict[str, Callable[[Path], object]] = {
    "write_bytes": lambda d: durable.write_bytes(d / "file", b"new"),
    "append_line": lambda d: durable.append_line(d / "file", "line"),
    "make_dirs": lambda d: durable.make_dirs(d / "a" / "b"),
    "remove": lambda d: durable.remove(d / "file"),
    "publish": lambda d: durable.publish(d / "file", d / "final"),
    "place": lambda d: Linker([LinkMode.HARDLINK, LinkMode.COPY]).place(d / "file", d / "new"),
    "now_ns": lambda d: clock.now_ns(d),
    "probe": lambda d: probe.probe(d),
}


@pytest.mark.parametrize("call", WRITING.values(), ids=WRITING.keys())
def test_writing_says_that_the_mount_is_read_only(
    call: Callable[[Path], object], frozen: Path
) -> None:
    with pytest.raises(ReadOnlyError) as caught:
        call(frozen)

    assert "read-only file system while" in caught.value.message
    assert caught.value.exit_code == 4
    assert (frozen / "file").read_bytes() == b"old"


@pytest.mark.parametrize("call", WRITING.values(), ids=WRITING.keys())
def test_writing_where_one_may_not_says_whose_it_is(call: Callable[[Path], object]) -> None:
    with public_directory() as directory:
        (directory / "file").write_bytes(b"old")
        directory.chmod(0o755)

        def refused() -> tuple[str, str | None]:
            with pytest.raises(AccessError) as caught:
                call(directory)
            return type(caught.value).__name__, caught.value.hint

        kind, hint = as_user(4242, refused)

        assert kind == "AccessError"
        assert hint is not None
        assert "you are uid 4242" in hint
        assert names(directory) == {"file"}


def test_read_only_is_found_by_trying(frozen: Path, tmp_path: Path) -> None:
    assert probe.is_read_only(frozen)
    assert not probe.is_read_only(tmp_path)
    with public_directory() as directory:
        directory.chmod(0o755)
        assert as_user(4242, lambda: probe.is_read_only(directory))
        assert not probe.is_read_only(directory)


def test_without_write_access_there_is_no_lock_and_the_work_goes_on(frozen: Path) -> None:
    for name in ("lock", "missing"):
        with locks.hold(frozen / name) as held:
            assert held is False


def test_links_out_of_a_read_only_mount_fall_to_a_copy(frozen: Path, tmp_path: Path) -> None:
    placed = Linker([LinkMode.HARDLINK, LinkMode.COPY], copy_below=0).place(
        frozen / "file", tmp_path / "new"
    )

    assert placed.mode is LinkMode.COPY
