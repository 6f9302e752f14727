"""Capabilities are what really works, and probing leaves no trace."""

from __future__ import annotations

import errno
import fcntl
import json
from pathlib import Path

import pytest

from modelkeep.fs import probe
from modelkeep.fs.probe import Capabilities
from tests.filesystems import overlay
from tests.fs.looking import names


def test_a_local_file_system_has_links_and_locks(disk: Path) -> None:
    found = probe.probe(disk)

    assert (found.hardlink, found.nlink, found.symlink, found.flock) == (True,) * 4
    assert 0 < found.mtime_granularity_ns <= 1_000_000_000
    assert names(disk) == set()


@pytest.mark.real
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs"])
def test_the_type_is_the_one_of_the_mount(kind: str, mounts: dict[str, Path]) -> None:
    assert probe.probe(mounts[kind]).fs_type == kind


@pytest.mark.real
def test_an_overlay_is_probed_as_what_it_is(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    lower.mkdir()
    with overlay(tmp_path, lower) as mounted:
        found = probe.probe(mounted.directory)

        assert found.fs_type == "overlay"
        assert found.hardlink
        assert names(mounted.directory) == set()


def test_capabilities_go_through_json(tmp_path: Path) -> None:
    found = probe.probe(tmp_path)

    assert Capabilities.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("stored", [{}, None, [1], {"hardlink": "yes", "flock": 1, "new": True}])
def test_what_is_missing_or_malformed_counts_as_not_there(stored: object) -> None:
    found = Capabilities.from_dict(stored)

    assert found == Capabilities(
        fs_type="unknown",
        hardlink=False,
        reflink=False,
        copy_file_range=False,
        symlink=False,
        flock=False,
        mtime_granularity_ns=2_000_000_000,
        nlink=False,
    )


@pytest.mark.parametrize("behaviour", ["granted to everybody", "not implemented"])
def test_a_flock_that_excludes_nobody_is_none(
    behaviour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lustre without the flock option, and some NFS servers; not to be had here.
    def flock(file: object, operation: int) -> None:
        if behaviour == "not implemented":
            raise OSError(errno.ENOSYS, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)

    assert probe.probe(tmp_path).flock is False


def test_a_missing_directory_is_file_not_found(tmp_path: Path) -> None:
    for call in (probe.probe, probe.is_read_only):
        with pytest.raises(FileNotFoundError):
            call(tmp_path / "no")
