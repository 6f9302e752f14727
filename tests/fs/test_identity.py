"""Who wrote a record, and whether that process has surely ended."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from modelkeep.fs import identity
from modelkeep.fs.identity import ProcessId
from tests.filesystems import as_user, need_root, unavailable

WHO = """
import json, sys; from dataclasses import asdict; from modelkeep.fs import identity
print(json.dumps(asdict(identity.current())), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other() -> Iterator[tuple[ProcessId, subprocess.Popen[str]]]:
    """Another process, alive until its input is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", WHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        yield ProcessId(**json.loads(child.stdout.readline())), child


def test_a_process_knows_itself() -> None:
    me = identity.current()

    assert me.pid == os.getpid()
    assert me.host == os.uname().nodename
    assert all(asdict(me).values())
    assert identity.current() == me
    assert identity.is_running(me) is True


def test_two_processes_differ(other: tuple[ProcessId, subprocess.Popen[str]]) -> None:
    me, theirs = identity.current(), other[0]

    assert (theirs.host, theirs.boot, theirs.pid_namespace) == (me.host, me.boot, me.pid_namespace)
    assert theirs.pid != me.pid


def test_a_living_process_is_alive_until_it_has_ended(
    other: tuple[ProcessId, subprocess.Popen[str]],
) -> None:
    who, child = other

    assert identity.is_running(who) is True
    child.communicate()
    assert identity.is_running(who) is False


def test_a_process_that_ended_is_dead_before_its_parent_has_noticed(
    other: tuple[ProcessId, subprocess.Popen[str]],
) -> None:
    who, child = other
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # leaves it a zombie

    assert identity.is_running(who) is False


def test_another_process_with_the_same_pid_is_not_the_owner() -> None:
    assert identity.is_running(replace(identity.current(), start="1")) is False


def test_from_elsewhere_nothing_can_be_known() -> None:
    gone = replace(identity.current(), pid=2**22 - 1, start="1")

    assert identity.is_running(gone) is False
    assert identity.is_running(replace(gone, host="elsewhere")) is None
    assert identity.is_running(replace(gone, boot="another")) is None
    assert identity.is_running(replace(gone, pid_namespace="pid:[1]")) is None


@pytest.mark.parametrize("pid", [0, -1, 2**80])
def test_a_pid_that_cannot_be_is_not_judged(pid: int) -> None:
    assert identity.is_running(replace(identity.current(), pid=pid)) is None


def test_without_proc_nobody_is_ever_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on macOS, which cannot be had here.
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    me = identity.current()

    assert (me.boot, me.pid_namespace, me.start) == ("", "", "")
    assert identity.is_running(replace(me, pid=2**22 - 1)) is None


@pytest.mark.real
def test_processes_of_other_users_are_seen_alive() -> None:
    me = identity.current()

    assert as_user(4242, lambda: identity.is_running(me)) is True


@pytest.mark.real
def test_another_pid_namespace_counts_as_another_host() -> None:
    need_root()
    if shutil.which("unshare") is None:
        unavailable("unshare is not installed")
    script = "import pickle, sys; from modelkeep.fs import identity; "
    done = subprocess.run(
        [
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            sys.executable,
            "-c",
            script + "sys.stdout.buffer.write(pickle.dumps(identity.current()))",
        ],
        check=True,
        stdout=subprocess.PIPE,
    )
    there: ProcessId = pickle.loads(done.stdout)

    assert there.pid == 1
    assert there.boot == identity.current().boot
    assert there.pid_namespace != identity.current().pid_namespace
    assert identity.is_running(there) is None


@pytest.mark.real
def test_a_proc_of_another_pid_namespace_is_not_believed() -> None:
    need_root()
    if shutil.which("unshare") is None:
        unavailable("unshare is not installed")
    script = "from modelkeep.fs import identity; me = identity.current(); "
    done = subprocess.run(
        [
            "unshare",
            "--pid",
            "--fork",
            sys.executable,
            "-c",
            script + "print(repr(me.pid_namespace), identity.is_running(me))",
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )

    assert done.stdout == "'' None\n"


def test_mount_namespaces_have_names() -> None:
    assert identity.mount_namespace().startswith("mnt:[")
