"""Containers that see this machine's programs and nothing else of it, run by podman as root.

There is no image: the root of a container is a folder with this machine's `/usr` in it. All state
of podman lies in a folder of the test, apart from any other podman here.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.filesystems import need_root, unavailable

# What runs where neither systemd nor CAP_SYS_RESOURCE is to be had, on both versions of cgroups.
_CONFIG = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{state}/tmp"
"""
_LINKS = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")}


@dataclass(frozen=True)
class Containers:
    """A podman of its own, and the folder every container has for its root."""

    state: Path

    def command(
        self,
        user: str,
        *,
        mounts: Sequence[Path | str] = (),
        env: Mapping[str, str] | None = None,
        network: str = "none",
        options: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """What runs a program in a fresh container: the words before the program's own.

        `mounts` are folders that have the same path inside, or what `--volume` takes. Of `env` the
        container gets its names only: run the command with it.
        """
        volumes = [f"{mount}:{mount}" if isinstance(mount, Path) else mount for mount in mounts]
        return (
            *("env", f"CONTAINERS_CONF={self.state}/containers.conf"),
            *("podman", "--root", f"{self.state}/root", "--runroot", f"{self.state}/run"),
            *("--storage-driver", "vfs", "run", "--rm", f"--network={network}", "--user", user),
            *(word for volume in ("/usr:/usr:ro", *volumes) for word in ("--volume", volume)),
            *(word for name in env or () for word in ("--env", name)),
            *options,
            *("--rootfs", f"{self.state}/rootfs"),
        )


@contextmanager
def containers() -> Iterator[Containers]:
    """Have containers for the block; skips where there is no podman that runs one."""
    need_root()
    for tool in ("podman", "runc"):
        if shutil.which(tool) is None:
            unavailable(f"{tool} is not installed")
    # Its sockets lie there, whose paths may have 108 bytes.
    state = Path(tempfile.mkdtemp(prefix="mk-podman-"))
    try:
        (state / "containers.conf").write_text(_CONFIG.format(state=state))
        rootfs = state / "rootfs"
        for folder in ("usr", "etc", "tmp", "proc", "sys", "dev", "run"):
            (rootfs / folder).mkdir(parents=True)
        (rootfs / "tmp").chmod(0o1777)
        for name, target in _LINKS.items():
            if Path("/", name).is_symlink():
                (rootfs / name).symlink_to(target)
        found = Containers(state)
        tried = subprocess.run([*found.command("0:0"), "true"], capture_output=True, text=True)
        if tried.returncode != 0:
            unavailable(f"podman runs no container: {tried.stderr.strip()}")
        yield found
    finally:
        _remove(state)


def _remove(state: Path) -> None:
    """Remove the state; a container that was killed may have left a mount in it."""
    table = Path("/proc/self/mounts").read_text(encoding="utf-8")
    points = [line.split()[1] for line in table.splitlines()]
    for point in reversed([point for point in points if point.startswith(f"{state}/")]):
        subprocess.run(["umount", "--lazy", point], check=False)
    shutil.rmtree(state)
