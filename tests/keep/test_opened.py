"""Keeps are found, made and refused."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import modelkeep
from modelkeep.errors import (
    NotFoundError,
    ReadOnlyError,
    SettingsError,
    UnknownFormatError,
    UsageError,
)
from modelkeep.keep import Keep
from tests import forks
from tests.filesystems import as_user, public_directory, read_only, tmpfs


def test_the_first_use_makes_a_private_keep_in_the_default_place(isolated: Path) -> None:
    keep = modelkeep.open()
    assert keep.directory == isolated / ".cache" / "modelkeep"
    assert (keep.store.mode, keep.read_only) == ("private", False)
    assert {path.name for path in keep.directory.iterdir()} == {"keep.toml", "hub", "store"}
    assert list(keep.hub.directory.iterdir()) == []


def test_the_given_place_wins_over_the_variable_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELKEEP_HOME", str(tmp_path / "variable"))
    assert modelkeep.open().directory == tmp_path / "variable"
    assert modelkeep.open(tmp_path / "given").directory == tmp_path / "given"


def test_a_missing_keep_is_said_and_not_made(keep_dir: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        Keep.open(keep_dir)
    assert caught.value.hint is not None
    assert "modelkeep init" in caught.value.hint
    assert not keep_dir.exists()


def test_a_place_that_holds_something_else_is_refused(keep_dir: Path) -> None:
    keep_dir.mkdir()
    (keep_dir / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="thesis"):
        Keep.create(keep_dir)
    assert [path.name for path in keep_dir.iterdir()] == ["thesis.tex"]


def test_a_keep_whose_making_was_killed_is_made_by_the_same_call(tmp_path: Path) -> None:
    def make(name: str = "steps") -> str:
        return Keep.create(tmp_path / name).store.id

    for number, step in enumerate(forks.steps(make, tmp_path / "log")):
        name = f"keep{number}"
        assert forks.start(partial(make, name), sync=f"kill:{step}").killed(), step
        make(name)
        assert Keep.open(tmp_path / name).verify().ok


def test_first_pulls_at_the_same_time_make_one_keep(tmp_path: Path) -> None:
    ids = forks.together([lambda: modelkeep.open(tmp_path / "keep").store.id] * 6)
    assert len(set(ids)) == 1


def test_a_group_keep_is_open_to_its_group_and_nobody_else(keep_dir: Path) -> None:
    old = os.umask(0o077)
    try:
        keep = Keep.create(keep_dir, mode="group")
    finally:
        os.umask(old)
    assert stat.S_IMODE(keep_dir.stat().st_mode) == 0o2770
    layout = keep.store.layout
    for folder in (keep.hub.directory, layout.root, layout.tmp, layout.blobs / "sha256" / "00"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2775
    for folder in layout.fixed():
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2755
    with pytest.raises(SettingsError):
        Keep.create(keep_dir, mode="private")


def test_a_newer_format_is_refused_and_nothing_changed(keep: Keep) -> None:
    header = keep.store.layout.header
    header.write_text(header.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(UnknownFormatError):
        Keep.open_or_create(keep.directory)


def test_a_keep_is_not_given_to_another_group_by_making_it_again(keep_dir: Path) -> None:
    Keep.create(keep_dir, mode="group")
    own = str(os.getegid())
    assert Keep.create(keep_dir, mode="group", group=own).directory == keep_dir
    another = next(entry for entry in grp.getgrall() if entry.gr_gid != os.getegid()).gr_name
    if os.geteuid() == 0:
        with pytest.raises(SettingsError, match=r"a keep of the group .* already"):
            Keep.create(keep_dir, mode="group", group=another)
    with pytest.raises(UsageError, match="no group `no-such-group`"):
        Keep.create(keep_dir, mode="group", group="no-such-group")


def hint_of(change: Callable[[], object]) -> str:
    try:
        change()
    except ReadOnlyError as error:
        return str(error.hint)
    return "no error"


@pytest.mark.real
def test_who_cannot_change_a_keep_learns_who_can(tmp_path: Path) -> None:
    with public_directory() as public:
        keep = Keep.create(public / "keep")
        keep.directory.chmod(0o755)
        bringing = as_user(4242, lambda: hint_of(lambda: keep.pull("org/a")))
        changing = as_user(4242, lambda: hint_of(lambda: keep.pin("org/a")))
    assert "keep of your own" in bringing
    assert changing.startswith("ask root")
    with tmpfs(tmp_path) as mount:
        keep = Keep.create(mount / "keep")
        with read_only(mount):
            assert "mounted read-only" in hint_of(lambda: keep.pin("org/a"))
