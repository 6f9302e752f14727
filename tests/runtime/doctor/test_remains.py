"""What should be there and is not, and what crashed processes left behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelkeep.fs import clock
from modelkeep.keep import Keep
from modelkeep.runtime.doctor import CHECKS, Status, examine
from modelkeep.store.sweep import DAY_NS
from tests.runtime.doctor.conftest import found, is_ok, mended, mode, subject


def let_days_pass(keep: Keep, monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Nobody can change when an inode changed, so the clock is what moves."""
    moment = clock.now_ns(keep.store.layout.tmp) + int(days * DAY_NS)
    monkeypatch.setattr(clock, "now_ns", lambda _: moment)


@pytest.mark.parametrize("shared", [False, True])
def test_missing_folders_are_made(keep: Keep, group_keep: Keep, shared: bool) -> None:
    which = group_keep if shared else keep
    layout = which.store.layout
    for folder in (layout.metas / "ab", layout.trash, which.hub.directory):
        folder.rmdir()
    finding = found(which, "keep.folders")
    assert finding.status is Status.FAIL
    assert finding.evidence.startswith("3 folders missing")
    mended(which, "keep.folders")
    assert is_ok(which, "keep.folders")
    assert is_ok(which, "keep.modes")


def test_a_folder_in_which_no_name_changes_is_made_as_one(group_keep: Keep) -> None:
    used = group_keep.store.layout.uses
    shutil.rmtree(used)
    mended(group_keep, "keep.folders")
    assert (mode(used), mode(used / "ab")) == (0o2755, 0o2775)
    assert is_ok(group_keep, "keep.modes")

    used.chmod(0o2775)  # whoever is in the group could put another shard in the place of one
    assert found(group_keep, "keep.modes").status is Status.FAIL
    mended(group_keep, "keep.modes")
    assert mode(used) == 0o2755


def test_one_missing_folder_is_one_failure(keep: Keep) -> None:
    shutil.rmtree(keep.store.layout.tmp)
    answers = examine(subject(keep), [check for check in CHECKS if check.area == "keep"])
    failed = [each.check.id for each in answers if each.finding.status is Status.FAIL]
    assert failed == ["keep.folders"]
    mended(keep, "keep.folders")
    assert is_ok(keep, "keep.writable")


@pytest.mark.parametrize(
    ("check", "place", "days"),
    [
        ("keep.temporary", "tmp/left", 1.1),
        ("keep.partials", "tmp/fetch/left", 7.1),
        ("keep.marks", "condemned/left", 0.1),
    ],
)
def test_what_is_dead_is_removed_and_what_is_young_stays(
    keep: Keep, monkeypatch: pytest.MonkeyPatch, check: str, place: str, days: float
) -> None:
    left = keep.store.layout.root / place
    left.write_bytes(b"x" * 5000)
    young = found(keep, check)
    assert young.status is Status.OK
    assert young.evidence.startswith("1 ")
    let_days_pass(keep, monkeypatch, days)
    finding = found(keep, check)
    assert finding.status is Status.WARN
    assert str(left) in finding.evidence
    assert mended(keep, check) == [f"remove {left}"]
    assert not left.exists()


def test_old_trash_is_for_gc(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    (keep.store.layout.trash / "bad").write_bytes(b"x" * 5000)
    assert found(keep, "keep.trash").evidence.startswith("1 file in the trash")
    let_days_pass(keep, monkeypatch, 1.1)
    finding = found(keep, "keep.trash")
    assert (finding.status, finding.remedies) == (Status.WARN, ())
    assert str(finding.fix).startswith("modelkeep gc")


def soft_lock(keep: Keep, name: str, text: str) -> Path:
    lock = keep.hub.directory / f".locks/models--org--a/{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(text)
    return lock


def test_locks_of_dead_processes_are_found(keep: Keep) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead = soft_lock(keep, "dead", f"{ended.pid}\n{socket.gethostname()}\n")
    soft_lock(keep, "alive", f"{os.getpid()}\n{socket.gethostname()}\n")
    soft_lock(keep, "elsewhere", "1\nanother-host\n")
    soft_lock(keep, "empty", "")
    finding = found(keep, "keep.locks")
    assert finding.status is Status.WARN
    assert finding.evidence.startswith("1 lock of")
    assert str(dead) in finding.evidence
    dead.unlink()
    assert found(keep, "keep.locks").evidence.startswith("3 locks of clients, none")


def test_old_locks_of_other_hosts_are_found(keep: Keep) -> None:
    lock = soft_lock(keep, "elsewhere", "1\nanother-host\n")
    yesterday = time.time() - 90_000
    os.utime(lock, (yesterday, yesterday))
    assert found(keep, "keep.locks").status is Status.WARN


def test_old_empty_locks_count_where_flock_does_not_work(keep: Keep) -> None:
    lock = soft_lock(keep, "empty", "")
    os.utime(lock, (0, 0))
    assert is_ok(keep, "keep.locks")
    header = keep.store.layout.header
    fields = json.loads(header.read_bytes())
    fields["capabilities"]["flock"] = False
    header.write_text(json.dumps(fields))
    assert found(keep, "keep.locks").status is Status.WARN
