"""Which mount a path lies on, read from the kernel's table."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.fs.mounts import Mount, fs_type, parse, under

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /srv rw - tmpfs tmpfs rw
31 30 0:27 / /srv/models rw master:2 propagate_from:3 - fuse.juicefs JuiceFS:team rw
32 22 0:28 / /mnt/with\040space\134and\011tab rw - nfs4 server:/x rw
33 22 8:2 / /data rw - xfs /dev/sdb rw
34 33 0:29 / /data rw - btrfs /dev/sdc rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/srv", "tmpfs"),
        ("/srv/models/store", "fuse.juicefs"),
        ("/srv/models-old", "tmpfs"),
        ("/mnt/with space\\and\ttab/file", "nfs4"),
        ("/data/x", "btrfs"),
    ],
)
def test_the_longest_and_latest_mount_point_decides(path: str, expected: str) -> None:
    mount = under(parse(TABLE), path)
    assert mount is not None
    assert mount.kind == expected


def test_a_mount_tells_which_folder_of_which_file_system_it_shows() -> None:
    bind = r"40 22 8:2 /in\040side /elsewhere rw shared:1 - xfs /dev/sdb rw"
    assert parse(bind) == (Mount("/elsewhere", "/in side", "8:2", "xfs"),)


def test_an_empty_table_knows_nothing() -> None:
    assert under(parse(""), "/") is None


@pytest.mark.real
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs"])
def test_symbolic_links_are_followed(kind: str, mounts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(mounts[kind])

    assert fs_type(tmp_path / "link") == kind
    assert fs_type(tmp_path / "link" / "not" / "yet") == kind
