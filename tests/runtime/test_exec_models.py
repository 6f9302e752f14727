"""What `exec --model` names is fetched where that is wished, and held while the command runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelkeep.errors import BusyError
from modelkeep.keep import Keep
from modelkeep.keep.holding import ListedLease
from modelkeep.runtime import named
from tests.filesystems import bind, need_root, unavailable
from tests.hub import Hub, Repository
from tests.keeping import held_by, loaded
from tests.models import TINY
from tests.runtime.conftest import MODELKEEP, Modelkeep

EXEC = (*MODELKEEP, "exec", "--model", "org/tiny")
RUN_ON = ("sh", "-c", "echo started; exec sleep 60")


@pytest.fixture
def filled(keep: Keep, tiny_repo: Repository) -> Keep:
    keep.pull("org/tiny")
    return keep


def start(*arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*EXEC, *arguments, "--", *RUN_ON],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def leases(keep: Keep) -> list[ListedLease]:
    return [lease for lease in keep.leases().leases if lease.holds]


def test_what_a_command_needs_is_not_removed_while_it_runs(filled: Keep) -> None:
    process = start("--offline")

    (lease,) = leases(filled)
    assert lease.name == f"org/tiny@{held_by(filled, 'org/tiny').commit}"
    assert lease.blobs == len(TINY)
    assert lease.owner is not None
    assert (lease.owner.pid, lease.owner.running) == (process.pid, True)
    assert lease.reason == "sh"
    with pytest.raises(BusyError, match=f"process {process.pid}"):
        filled.plan_removal("org/tiny")

    ended(process)
    assert leases(filled) == []
    filled.remove(filled.plan_removal("org/tiny"))


def test_online_the_branch_is_held_too(filled: Keep, tiny_repo: Repository) -> None:
    process = start("--online")
    old = tiny_repo.sha
    tiny_repo.commit({"config.json": b"[]"}, update=True)
    filled.pull("org/tiny")

    assert {lease.revision for lease in leases(filled)} == {old, "main"}
    for commit in tiny_repo.commits:
        with pytest.raises(BusyError):
            filled.plan_removal("org/tiny", commit)
    ended(process)


@pytest.mark.parametrize(
    ("command", "known_by"),
    [
        (["/usr/bin/vllm", "serve", "--api-key", "hf_secret"], "vllm"),
        (["python3.12", "/srv/train.py", "--token=hf_secret"], "python3.12 train.py"),
        (["python", "-m", "trl.train", "hf_secret"], "python trl.train"),
        (["bash", "-c", "TOKEN=hf_secret serve"], "bash"),
        (["env", "TOKEN=hf_secret", "python"], "env"),
    ],
)
def test_everybody_reads_the_reason_so_it_names_no_arguments(
    filled: Keep, command: list[str], known_by: str
) -> None:
    model = named.look(filled.store.layout, filled.hub, "org/tiny")
    taken = list(named.lease(filled.store.leases, filled.hub, model, command, online=False))
    assert [lease.reason for lease in taken] == [known_by]
    files = filled.store.layout.leases.iterdir()
    assert not any("secret" in file.read_text() for file in files)


def test_without_a_model_nothing_is_held(filled: Keep, modelkeep: Modelkeep) -> None:
    modelkeep("exec", "--offline", "true")
    assert not list(filled.store.layout.leases.iterdir())


def test_a_command_that_does_not_start_holds_nothing(filled: Keep, modelkeep: Modelkeep) -> None:
    done = modelkeep("exec", "--offline", "--model", "org/tiny", "no-such-command")
    assert done.returncode == 127
    assert not list(filled.store.layout.leases.iterdir())


def test_a_command_killed_outright_holds_nothing(filled: Keep) -> None:
    process = start("--offline")
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert leases(filled) == []
    (over,) = filled.leases().leases
    assert over.owner is not None
    assert over.owner.running is False

    ended(start("--offline"))
    (next_one,) = filled.leases().leases
    assert next_one.id != over.id, "what has ended does not pile up"


@pytest.mark.real
def test_in_another_pid_namespace_it_is_held_for_a_day(filled: Keep) -> None:
    need_root()
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *EXEC, "--offline", "true"],
        capture_output=True,
        text=True,
    )
    if "unshare" in done.stderr:
        unavailable(done.stderr)
    (lease,) = leases(filled)
    assert lease.owner is not None
    assert lease.owner.running is None
    with pytest.raises(BusyError):
        filled.plan_removal("org/tiny")


def test_fetch_brings_what_is_missing_and_only_that(
    keep: Keep, hub: Hub, tiny_repo: Repository, modelkeep: Modelkeep
) -> None:
    keep.pull("org/tiny", include=["config.json"])
    show = "import os; print(os.environ.get('HF_HUB_OFFLINE'))"
    done = modelkeep("exec", "--model", "org/tiny", "--fetch", "--", sys.executable, "-c", show)

    assert done.stdout == "1\n"
    assert "org/tiny is here now: 3 files" in done.stderr
    assert loaded(keep, "org/tiny") == TINY
    hub.clear_log()
    again = modelkeep("exec", "--fetch", "--model", "org/tiny", "true")
    assert hub.requests == []
    assert "is here now" not in again.stderr


def test_fetch_makes_a_keep_where_there_is_none(
    hub: Hub, tiny_repo: Repository, modelkeep: Modelkeep, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    done = modelkeep("--keep", new, "exec", "--model", "org/tiny", "--fetch", "echo", "ran")
    assert done.stdout == "ran\n"
    assert loaded(Keep.open(new), "org/tiny") == TINY


@pytest.mark.parametrize("plain", [True, False], ids=["quick", "parsed"])
def test_what_cannot_be_fetched_stops_the_command(
    keep: Keep, hub: Hub, modelkeep: Modelkeep, plain: bool
) -> None:
    extra = () if plain else ("--format", "json")
    done = modelkeep(*extra, "exec", "--model", "org/none", "--fetch", "--", "echo", "ran")
    assert done.returncode == 125
    assert "ran" not in done.stdout
    assert "error: " in done.stderr
    assert "a data set is datasets/org/none" in done.stderr
    assert "--type" not in done.stderr  # which `exec` has not
    if not plain:
        assert json.loads(done.stdout)["error"]["exit_code"] == 125


def test_fetch_alone_makes_no_sense(keep: Keep, modelkeep: Modelkeep) -> None:
    done = modelkeep("exec", "--fetch", "true")
    assert done.returncode == 125
    assert "--model" in done.stderr


@pytest.mark.real
def test_a_read_only_keep_cannot_hold_and_says_so_in_one_line(
    filled: Keep, modelkeep: Modelkeep, tmp_path: Path
) -> None:
    with bind(tmp_path, filled.directory) as mount:
        subprocess.run(["mount", "-o", "remount,bind,ro", mount], check=True)
        done = modelkeep("--keep", mount, "exec", "--model", "org/tiny", "echo", "ran")
    assert done.stdout == "ran\n"
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 1
    assert "you cannot write the keep" in warned[0]
