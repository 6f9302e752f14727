"""Caches are looked for where people, processes, start-up files and containers put them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkeep.fs.mounts import Mount
from modelkeep.runtime.caches import Machine, Place, places
from modelkeep.runtime.containers import View
from tests.filesystems import need_root, public_directory
from tests.forks import run

IN_HOME = ".cache/huggingface/hub"
SECRET = "hf_secretThatNobodyMaySee"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with nobody on it."""
    for name in ("homes", "volumes", "proc", "profile.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "environment").touch()
    (tmp_path / "passwd").touch()
    return Machine(
        processes=str(tmp_path / "proc"),
        homes=str(tmp_path / "homes"),
        accounts=str(tmp_path / "passwd"),
        startup=(str(tmp_path / "environment"), str(tmp_path / "profile.d")),
        volumes=(str(tmp_path / "volumes"),),
    )


def found(machine: Machine, **environ: str) -> dict[str, str]:
    return {place.path: place.found_by for place in places(environ, (), machine)}


def test_the_own_cache_comes_first_and_variables_of_this_shell_follow(machine: Machine) -> None:
    environ = {"HOME": "/h", "HF_HOME": "~/hf", "TRANSFORMERS_CACHE": "/t", "XDG_CACHE_HOME": "/x"}
    assert places(environ, ["/srv/linked"], machine)[1:] == (
        Place("/h/hf/hub", "HF_HOME of this shell"),
        Place("/x/huggingface/hub", "XDG_CACHE_HOME of this shell"),
        Place("/t", "TRANSFORMERS_CACHE of this shell"),
        Place("/srv/linked", "linked from the keep"),
    )
    assert places({"HF_HUB_CACHE": "/own"}, (), machine)[0] == Place("/own", "this shell")


def test_every_home_is_looked_at_and_its_container_volumes(
    machine: Machine, tmp_path: Path
) -> None:
    home = tmp_path / "homes/alice"
    (home / ".local/share/containers/storage/volumes/models/_data").mkdir(parents=True)
    (tmp_path / "volumes/hf/_data").mkdir(parents=True)
    (tmp_path / "passwd").write_text(
        "root:x:0:0:root:/data/root:/bin/sh\nbroken\nbob:x:2:2:Bob:/data/bob:/bin/sh\n"
    )
    here = found(machine)
    assert here[f"{home}/.cache/huggingface/hub"] == f"home {home}"
    assert here["/data/bob/.cache/huggingface/hub"] == "home /data/bob"
    assert here[f"/data/root/{IN_HOME}"] == "home /data/root"
    volume = f"{home}/.local/share/containers/storage/volumes/models/_data"
    assert here[f"{volume}/huggingface/hub"] == "container volume models"
    assert here[f"{tmp_path}/volumes/hf/_data"] == "container volume hf"


def test_startup_files_are_read_and_nothing_in_them_is_run(
    machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "environment").write_text('HF_HOME="/srv/hf home"\nPATH=/usr/bin\n')
    (tmp_path / "profile.d/models.sh").write_text(
        f"export HF_HUB_CACHE='/srv/hub'; touch {tmp_path}/ran\nHF_TOKEN={SECRET}\n"
    )
    here = found(machine)
    assert here["/srv/hf home/hub"] == f"HF_HOME of {tmp_path}/environment"
    assert here["/srv/hub"] == f"HF_HUB_CACHE of {tmp_path}/profile.d/models.sh"
    assert not (tmp_path / "ran").exists()
    assert SECRET not in str(here)


@pytest.fixture
def job() -> Iterator[subprocess.Popen[bytes]]:
    """A running process with caches of its own, and a secret."""
    environ = {"HF_HOME": "/job/hf", "HF_HUB_CACHE": "relative", "HF_TOKEN": SECRET}
    with subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], **environ}) as process:
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_running_processes_tell_where_their_caches_are(
    machine: Machine, tmp_path: Path, job: subprocess.Popen[bytes]
) -> None:
    (tmp_path / f"proc/{job.pid}").symlink_to(f"/proc/{job.pid}")
    (tmp_path / "proc/self").symlink_to(f"/proc/{os.getpid()}")
    (tmp_path / "proc/999999").symlink_to("/proc/999999")  # it has just ended
    here = found(machine)
    assert here["/job/hf/hub"] == f"HF_HOME of process {job.pid}"
    assert not any("relative" in path for path in here)
    assert SECRET not in str(here)


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
def test_processes_of_others_are_passed_over_by_who_may_not_read_them(
    job: subprocess.Popen[bytes],
) -> None:
    def look() -> bool:
        os.setgid(4242)
        os.setuid(4242)
        return any(place.path.startswith("/job") for place in places({"HOME": "/h"}))

    assert run(look) is False


OURS = (
    Mount("/", "/", "8:1", "ext4"),
    Mount("/srv", "/", "8:2", "xfs"),
    Mount("/bound", "/volumes/models", "8:2", "xfs"),
    Mount("/merged", "/", "0:50", "overlay"),
)
THEIRS = """
1 0 0:50 / / rw - overlay overlay rw
2 1 8:2 /volumes/models /models rw - xfs /dev/sdb rw
3 1 8:2 /al /home rw - xfs /dev/sdb rw
4 1 0:99 / /private rw - tmpfs tmpfs rw
5 1 0:6 / /proc rw - proc proc rw
6 1 8:2 / /srv rw - xfs /dev/sdb rw
"""


def test_a_path_of_a_container_has_another_name_here(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(THEIRS)
    view = View(tmp_path, OURS)
    assert view.here("/models/hub") == "/bound/hub"
    assert view.here("/models") == "/bound"
    assert view.here("/home/cache") == "/srv/al/cache"
    assert view.here("/opt/hf") == "/merged/opt/hf"
    assert view.here("/private/hub") == f"{tmp_path}/root/private/hub"
    assert list(view.mounted()) == ["/models", "/home", "/private"]


@pytest.mark.real
def test_a_cache_in_another_mount_namespace_is_found_under_its_name_here(
    machine: Machine, tmp_path: Path
) -> None:
    need_root()
    with public_directory() as shared:
        (shared / "volume/hub/models--org--a").mkdir(parents=True)
        (shared / "inside").mkdir()
        script = f"mount --bind {shared}/volume {shared}/inside && echo ready && exec sleep 600"
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        environ = {"PATH": os.environ["PATH"], "HF_HOME": str(shared / "inside")}
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                (tmp_path / f"proc/{process.pid}").symlink_to(f"/proc/{process.pid}")
                (tmp_path / "proc/self").symlink_to(f"/proc/{os.getpid()}")
                here = found(machine)
            finally:
                process.kill()
    assert f"{shared}/volume/hub" in here
    assert f"{shared}/inside/hub" not in here
