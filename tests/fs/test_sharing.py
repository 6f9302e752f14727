"""What is made in a directory that a group works in is for the group, whatever the umask."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkeep.errors import AccessError, ModelkeepError
from modelkeep.fs import durable, sharing
from tests.filesystems import as_user, public_directory, ramfs
from tests.fs.looking import mode_of

pytestmark = pytest.mark.real

ADA, BOB, GROUP = 4242, 4243, 4240


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory of a group, on a file system without ACLs; another user owns it."""
    with public_directory() as base, ramfs(base) as mount:
        top = mount / "top"
        top.mkdir()
        os.chown(top, ADA, GROUP)
        top.chmod(0o2775)
        yield top


def with_umask(umask: int, path: Path) -> None:
    os.umask(umask)
    durable.make_dirs(path)


def test_what_is_made_inside_is_shared_too(folder: Path) -> None:
    as_user(ADA, lambda: with_umask(0o077, folder / "a" / "b"), gid=GROUP)
    as_user(BOB, lambda: with_umask(0o022, folder / "a" / "b" / "c"), gid=GROUP)

    for path in (folder / "a", folder / "a" / "b", folder / "a" / "b" / "c"):
        assert (mode_of(path), path.stat().st_gid) == (0o2775, GROUP)


def test_ones_own_closed_directory_is_opened(folder: Path) -> None:
    """Such as one that a stock client made with this user's umask."""
    made = folder / "a"
    made.mkdir()
    os.chown(made, ADA, GROUP)
    made.chmod(0o2700)

    as_user(ADA, lambda: durable.make_dirs(made), gid=GROUP)

    assert mode_of(made) == 0o2775


def test_a_directory_in_the_making_is_waited_for(folder: Path) -> None:
    made = folder / "a"
    made.mkdir()
    os.chown(made, ADA, GROUP)
    made.chmod(0o2755)
    timer = threading.Timer(0.02, made.chmod, [0o2775])
    timer.start()

    as_user(BOB, lambda: durable.make_dirs(made / "b"), gid=GROUP)

    timer.join()
    assert mode_of(made / "b") == 0o2775


def test_elsewhere_the_umask_decides(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        durable.make_dirs(tmp_path / "a" / "b")
    finally:
        os.umask(before)

    assert mode_of(tmp_path / "a" / "b") == 0o750


def test_the_top_of_something_private_is_not_opened(folder: Path) -> None:
    before = os.umask(0o022)
    try:
        durable.make_dirs(folder / "mine", inherit=False)
        durable.make_dirs(folder / "mine" / "inside")
    finally:
        os.umask(before)

    assert mode_of(folder / "mine") == 0o2755
    assert mode_of(folder / "mine" / "inside") == 0o2755


def test_a_link_in_the_place_of_a_directory_is_not_followed(folder: Path) -> None:
    private = folder.parent / "private"
    private.mkdir(0o700)
    os.chown(private, BOB, BOB)
    (folder / "a").symlink_to(private)

    with pytest.raises(ModelkeepError, match="not a directory"):
        as_user(BOB, lambda: sharing.share(folder / "a"), gid=GROUP)
    as_user(BOB, lambda: sharing.inherit(folder / "a"), gid=GROUP)

    assert mode_of(private) == 0o700


def test_a_stranger_to_the_group_cannot_share(folder: Path) -> None:
    made = folder / "a"
    made.mkdir()
    os.chown(made, BOB, GROUP)

    with pytest.raises(AccessError, match="does not take the mode 2775") as refused:
        as_user(BOB, lambda: sharing.share(made))

    assert f"gid {GROUP}" in (refused.value.hint or "")


@pytest.mark.parametrize("owner", [0, BOB])
def test_links_of_root_and_of_ones_own_are_trusted(folder: Path, owner: int) -> None:
    (folder / "a").symlink_to("/nowhere")
    os.chown(folder / "a", owner, GROUP, follow_symlinks=False)

    as_user(BOB, lambda: sharing.refuse_planted(folder, folder / "a" / "b"), gid=GROUP)


def test_a_link_of_another_user_on_the_way_is_refused(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "b").symlink_to("/nowhere")
    os.chown(folder / "a" / "b", ADA, GROUP, follow_symlinks=False)

    with pytest.raises(AccessError, match=r"link that uid 4242 made, to `/nowhere`"):
        as_user(BOB, lambda: sharing.refuse_planted(folder, folder / "a" / "b" / "c"), gid=GROUP)
