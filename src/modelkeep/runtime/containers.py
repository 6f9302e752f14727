"""Where containers of this machine keep what outlives them: volumes, and folders mounted into them.

What a container calls `/models` has another name here, or none. The kernel's tables of mounts tell
which folder of which file system both mean.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from modelkeep.fs.mounts import Mount, table, under

SYSTEM_VOLUMES = ("/var/lib/docker/volumes", "/var/lib/containers/storage/volumes")
"""Where engines that run as root keep named volumes, each in a folder `_data` of its own."""

USER_VOLUMES = (
    ".local/share/containers/storage/volumes",
    ".local/share/docker/volumes",
)
"""The same of engines that run as a user, below the user's home."""

# What every container has mounted, and nobody keeps models in.
_SYSTEM = ("/proc", "/sys", "/dev", "/run", "/etc")


def volume(folder: str, name: str) -> str:
    """Return where the files of a named volume lie."""
    return f"{folder}/{name}/_data"


class View:
    """What a process sees mounted, beside what this one sees."""

    def __init__(self, process: Path, ours: Sequence[Mount]) -> None:
        self._process = process
        self._ours = ours
        self._theirs = table(process)

    def here(self, path: str) -> str:
        """Return where an absolute path of the process lies for this one.

        By the process's own root where no mount of ours shows that folder: such a path lasts as
        long as the process.
        """
        mount = under(self._theirs, path)
        if mount is not None:
            inside = _join(mount.root, path[len(mount.point.rstrip("/")) :])
            shown = [ours for ours in self._ours if _shows(ours, mount.device, inside)]
            if shown:
                ours = max(shown, key=lambda ours: len(ours.root))
                return _join(ours.point, inside[len(ours.root.rstrip("/")) :])
        return f"{self._process}/root{path}"

    def mounted(self) -> Iterator[str]:
        """Yield, as paths of the process, what is mounted there and not so here."""
        for mount in self._theirs:
            point = mount.point
            system = any(point == top or point.startswith(f"{top}/") for top in _SYSTEM)
            if point != "/" and not system and mount not in self._ours:
                yield point


def namespace(process: str | os.PathLike[str]) -> str | None:
    """Return what names the mounts a process sees; None where this caller may not know."""
    try:
        return os.readlink(os.path.join(process, "ns/mnt"))  # noqa: PTH115, PTH118 - text
    except OSError:
        return None


def _shows(mount: Mount, device: str, path: str) -> bool:
    root = mount.root.rstrip("/")
    return mount.device == device and (path == mount.root or path.startswith(f"{root}/"))


def _join(folder: str, rest: str) -> str:
    return f"{folder.rstrip('/')}/{rest.strip('/')}".rstrip("/") or "/"
