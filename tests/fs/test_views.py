"""Who sees a directory read-only: containers do, hardened services do not count."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelkeep.fs.views import read_only_view
from tests.containers import containers
from tests.filesystems import need_root

pytestmark = pytest.mark.real


@contextmanager
def elsewhere(script: str) -> Iterator[int]:
    """Run a shell script in a mount namespace of its own and keep it there; its pid."""
    need_root()
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", f"{script}\necho ready\nexec sleep 60"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    (tmp_path / "keep/hub").mkdir(parents=True)
    (tmp_path / "seen").mkdir()
    return tmp_path / "keep"


@pytest.mark.parametrize("what", ["keep", "keep/hub", ""])
def test_a_read_only_mount_in_another_namespace_is_seen(
    keep: Path, tmp_path: Path, what: str
) -> None:
    target = tmp_path / "seen"
    with elsewhere(
        f"mount --bind {tmp_path / what} {target}; mount -o remount,bind,ro {target}"
    ) as pid:
        assert read_only_view(keep) == f"process {pid} sees it read-only at `{target}`"
    assert read_only_view(keep) is None


def test_a_writable_mount_does_not_count(keep: Path, tmp_path: Path) -> None:
    with elsewhere(f"mount --bind {keep} {tmp_path / 'seen'}"):
        assert read_only_view(keep) is None


def test_a_mount_of_something_else_does_not_count(keep: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    target = tmp_path / "seen"
    with elsewhere(
        f"mount --bind {tmp_path / 'other'} {target}; mount -o remount,bind,ro {target}"
    ):
        assert read_only_view(keep) is None


def test_a_service_whose_whole_view_is_read_only_does_not_count(keep: Path) -> None:
    with elsewhere("mount -o remount,bind,ro /"):
        assert read_only_view(keep) is None


@pytest.mark.parametrize(("options", "seen"), [(":ro", True), ("", False)])
def test_a_container_is_seen(keep: Path, options: str, seen: bool) -> None:
    """With a root of its own, and the whole keep mounted at another place."""
    with containers() as podman:
        volume = f"{keep}:/models{options}"
        command = podman.command("4242:4242", mounts=[volume], options=["--interactive"])
        with subprocess.Popen(
            [*command, "sh", "-c", "echo ready; read end"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            view = read_only_view(keep)
            running.communicate("end\n")
    assert (view is not None and view.endswith("sees it read-only at `/models`")) is seen


def test_it_takes_no_time(keep: Path) -> None:
    began = time.monotonic()
    read_only_view(keep)
    assert time.monotonic() - began < 5
