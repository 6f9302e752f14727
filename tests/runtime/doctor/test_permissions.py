"""Whether those who share a keep can use it, and nobody else can."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from modelkeep.fs import acl
from modelkeep.keep import Keep
from modelkeep.runtime.doctor import Status, examine, mend
from tests.filesystems import as_user, need_root, read_only, tmpfs
from tests.hub_layout.test_survey import write
from tests.runtime.doctor.conftest import found, is_ok, mended, mode, subject

STRANGER = 4242
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")


@pytest.mark.real
def test_a_keep_one_cannot_write_is_for_reading(tmp_path: Path) -> None:
    with tmpfs(tmp_path) as mount:
        keep = Keep.create(mount / "keep")
        assert is_ok(keep, "keep.writable")
        with read_only(mount):
            finding = found(keep, "keep.writable")
            statuses = {each.check.id: each.finding for each in examine(subject(keep))}
    assert finding.status is Status.WARN
    assert "only read" in finding.evidence
    assert statuses["keep.capabilities"].status is Status.SKIP
    assert Status.FAIL not in {each.status for each in statuses.values()}


@needs_root
def test_what_sudo_left_in_a_private_keep_is_found(keep: Keep) -> None:
    folder = keep.store.layout.metas / "ab"
    os.chown(folder, STRANGER, STRANGER)
    finding = found(keep, "keep.owner")
    assert finding.status is Status.FAIL
    assert str(folder) in finding.evidence
    assert f"chown -R {os.geteuid()} {keep.directory}" in str(finding.fix)


def test_folders_of_a_private_keep_are_for_its_user_alone(keep: Keep) -> None:
    open_to_all, closed = keep.hub.directory, keep.store.layout.trash
    open_to_all.chmod(0o777)
    closed.chmod(0o500)
    finding = found(keep, "keep.modes")
    assert finding.status is Status.FAIL
    assert finding.evidence.startswith("2 folders")
    assert len(mended(keep, "keep.modes")) == 2
    assert (mode(open_to_all), mode(closed)) == (0o775, 0o700)
    assert is_ok(keep, "keep.modes")


def test_folders_of_a_group_keep_are_for_the_group(group_keep: Keep) -> None:
    layout = group_keep.store.layout
    write(group_keep.hub.directory, "model", b"weights")
    blobs = group_keep.hub.directory / "models--org--model/blobs"
    for folder in (layout.tmp, layout.metas / "ab", blobs):
        folder.chmod(0o755)
    layout.blobs.chmod(0o700)
    group_keep.directory.chmod(0o700)
    finding = found(group_keep, "keep.modes")
    assert finding.status is Status.FAIL
    assert len(finding.remedies) == 5
    mended(group_keep, "keep.modes")
    assert mode(layout.tmp) == mode(layout.metas / "ab") == mode(blobs) == 0o2775
    assert (mode(layout.blobs), mode(group_keep.directory)) == (0o2755, 0o2770)
    assert is_ok(group_keep, "keep.modes")


@needs_root
def test_folders_of_another_group_are_found(group_keep: Keep) -> None:
    os.chown(group_keep.hub.directory, -1, STRANGER)
    finding = found(group_keep, "keep.modes")
    assert finding.status is Status.FAIL
    assert "1 folder of another group" in finding.evidence


@needs_root
def test_a_member_mends_what_is_his_and_no_more(group_keep: Keep) -> None:
    mine, other = group_keep.store.layout.tmp, group_keep.store.layout.trash
    group_keep.directory.chmod(0o2777)
    mine.chmod(0o755)
    other.chmod(0o755)
    os.chown(mine, STRANGER, -1)
    target = subject(group_keep)
    examine(target)  # imports what the other user may not read

    def as_member() -> list[str]:
        return [each.does for each in mend(examine(subject(group_keep)), dry_run=True)]

    done = as_user(STRANGER, as_member, gid=group_keep.directory.stat().st_gid)
    assert [does for does in done if "the mode" in does] == [
        f"give {mine} the mode 2775 instead of 755"
    ]


def test_no_link_leads_a_remedy_out_of_the_keep(group_keep: Keep, tmp_path: Path) -> None:
    write(group_keep.hub.directory, "model", b"weights")
    folder = group_keep.hub.directory / "models--org--model"
    (folder / "blobs").chmod(0o700)
    outside = tmp_path / "outside"
    (outside / "blobs").mkdir(parents=True, mode=0o700)
    before = mode(outside / "blobs")
    answers = examine(subject(group_keep))
    shutil.rmtree(folder)
    folder.symlink_to(outside)
    if os.geteuid() == 0:
        os.chown(folder, STRANGER, -1, follow_symlinks=False)
        errors = [each.error for each in mend(answers) if str(folder) in each.does]
        assert any("is a link" in str(error) for error in errors)
        assert mode(outside / "blobs") == before


def test_blobs_that_can_be_written_into_are_sealed(keep: Keep, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/model.bin").write_bytes(b"weights")
    keep.add(tmp_path / "mine", "me/mine")
    ((digest, _),) = keep.store.blobs()
    blob = keep.store.path(digest)
    assert is_ok(keep, "keep.sealed")
    blob.chmod(0o664)
    finding = found(keep, "keep.sealed")
    assert finding.status is Status.WARN
    assert "1 blob can be written" in finding.evidence
    mended(keep, "keep.sealed")
    assert mode(blob) == 0o444


def drop_acl(folder: Path) -> None:
    os.removexattr(folder, "system.posix_acl_default")


def test_folders_without_a_default_acl_get_one(group_keep: Keep) -> None:
    hub = group_keep.hub.directory
    drop_acl(hub)
    finding = found(group_keep, "keep.acl")
    assert finding.status is Status.WARN
    assert str(hub) in finding.evidence
    mended(group_keep, "keep.acl")
    assert acl.default_mode(hub) == 0o775
    assert is_ok(group_keep, "keep.acl")


@pytest.mark.real
def test_a_file_system_without_acls_asks_for_a_umask(
    tmp_path: Path, umask: Callable[[int], int]
) -> None:
    need_root()
    point = tmp_path / "ramfs"
    point.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "ramfs", point], check=True)
    try:
        keep = Keep.create(point / "keep", mode="group")
        finding = found(keep, "keep.acl")
        assert finding.status is Status.WARN
        assert "no ACLs" in finding.evidence
        assert finding.remedies == ()
        umask(0o022)
        assert found(keep, "keep.umask").status is Status.WARN
        umask(0o002)
        assert is_ok(keep, "keep.umask")
    finally:
        subprocess.run(["umount", point], check=True)


def test_a_umask_counts_where_no_acl_overrides_it(
    group_keep: Keep, umask: Callable[[int], int]
) -> None:
    umask(0o077)
    assert is_ok(group_keep, "keep.umask")
    drop_acl(group_keep.hub.directory)
    finding = found(group_keep, "keep.umask")
    assert finding.status is Status.WARN
    assert finding.evidence.startswith("077")


def test_links_of_strangers_are_a_matter_of_the_kernel(keep: Keep, tmp_path: Path) -> None:
    switch = tmp_path / "fs/protected_hardlinks"
    switch.parent.mkdir()
    switch.write_text("0\n")
    finding = found(keep, "keep.protected_hardlinks", kernel=tmp_path)
    assert finding.status is Status.WARN
    assert "sysctl" in str(finding.fix)
    switch.write_text("1\n")
    assert is_ok(keep, "keep.protected_hardlinks", kernel=tmp_path)
    assert found(keep, "keep.protected_hardlinks", kernel=tmp_path / "x").status is Status.SKIP


@needs_root
def test_a_repo_that_is_closed_to_members_is_named(group_keep: Keep) -> None:
    write(group_keep.hub.directory, "model", b"weights")
    folder = group_keep.hub.directory / "models--org--model"
    group_keep.directory.chmod(0o2775)
    folder.chmod(0o700)
    mine = found(group_keep, "keep.closed_repos")
    assert mine.status is Status.FAIL
    assert str(folder) in mine.evidence
    theirs = as_user(STRANGER, lambda: found(group_keep, "keep.closed_repos"))
    assert theirs.status is Status.FAIL
    assert "root" in str(theirs.fix)
    mended(group_keep, "keep.modes")
    assert is_ok(group_keep, "keep.closed_repos")


def test_notes_that_members_cannot_read_are_opened(group_keep: Keep) -> None:
    write(group_keep.hub.directory, "model", b"weights")
    trees = group_keep.hub.directory / "models--org--model/trees"
    trees.mkdir()
    note = trees / f"{'c' * 40}.json"
    note.write_text("{}")
    note.chmod(0o600)  # as stock clients leave it
    finding = found(group_keep, "keep.trees")
    assert finding.status is Status.WARN
    assert str(note) in finding.evidence
    mended(group_keep, "keep.trees")
    assert mode(note) == 0o644
    assert is_ok(group_keep, "keep.trees")


@needs_root
def test_root_opens_the_notes_of_others_and_nothing_that_is_somewhere_else_too(
    group_keep: Keep,
) -> None:
    write(group_keep.hub.directory, "model", b"weights")
    trees = group_keep.hub.directory / "models--org--model/trees"
    trees.mkdir()
    secret = group_keep.directory.parent / "secret"
    note, planted = (trees / f"{digit * 40}.json" for digit in "cd")
    for path in (note, secret):
        path.write_text("{}")
        path.chmod(0o600)
        os.chown(path, STRANGER, STRANGER)
    os.link(secret, planted)
    group_keep.directory.chmod(0o2775)
    finding = as_user(STRANGER + 1, lambda: found(group_keep, "keep.trees"))
    assert str(finding.fix).startswith(f"uid {STRANGER}, or root: chmod a+r")
    assert finding.remedies == ()
    mended(group_keep, "keep.trees")
    assert (mode(note), mode(secret)) == (0o644, 0o600)
