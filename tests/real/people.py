"""People who share a keep: users of this machine, and one in a container that nobody knows."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients import ROOT, python_of, run_client
from tests.containers import Containers, containers
from tests.filesystems import as_user, need_root, public_directory, unavailable
from tests.real.site import NEWEST, Site, new_site

import modelkeep

GROUP = 5000

_ENVIRON = ("PATH", "LANG")

# Lets other users reach the sources and their interpreter, where these lie in somebody's home.
_SHOW = """
sources=$1 closed=$2 aside=$3; shift 3
mount --bind "$sources" "$aside"
mount -t tmpfs -o mode=755 tmpfs "$closed"
mkdir -p "$sources"
mount --bind "$aside" "$sources"
exec "$@"
"""


@dataclass(frozen=True)
class Person:
    """Somebody with a home of his own, an umask, and nothing else to be told by."""

    uid: int
    gid: int
    home: Path
    groups: tuple[int, ...] = (GROUP,)
    umask: int = 0o022
    inside: Containers | None = None
    shown: tuple[str, ...] = ()

    def _within(self, env: dict[str, str]) -> tuple[str, ...]:
        """Return what runs a program as this person: the words before the program's own."""
        umask = ("sh", "-c", f'umask {self.umask:o}; exec "$@"', "sh")
        if self.inside is None:
            groups = (
                f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
            )
            ids = (f"--reuid={self.uid}", f"--regid={self.gid}", groups)
            return (*self.shown, "setpriv", *ids, *umask)
        mounts = (f"{ROOT}:{ROOT}:ro", self.home.parent)
        user = f"{self.uid}:{self.gid}"
        return (*self.inside.command(user, mounts=mounts, env=env, network="host"), *umask)

    def _env(self, site: Site, *, offline: bool = False) -> dict[str, str]:
        self.home.mkdir(exist_ok=True)
        os.chown(self.home, self.uid, self.gid)
        return {
            **{name: os.environ[name] for name in _ENVIRON if name in os.environ},
            **site.env(offline=offline),
            "MODELKEEP_HOME": str(site.keep.directory),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "hf"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
        }

    def python(self, site: Site, code: str, version: str = NEWEST, *, offline: bool = False) -> Any:
        """What `code` assigns to `result` when this person's interpreter runs it."""
        env = self._env(site, offline=offline)
        return run_client(version, code, env, within=self._within(env))

    def modelkeep(self, site: Site, *arguments: str | Path, code: int = 0) -> Any:
        """The document of a command, which ends with `code`."""
        done = self.run(site, "-m", "modelkeep", *arguments, "--format", "json", "--yes")
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def run(
        self, site: Site, *arguments: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run this person's interpreter with some arguments, and variables besides his own."""
        env = {**self._env(site), **(env or {})}
        return subprocess.run(
            [*self._within(env), str(python_of(NEWEST)), *arguments],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@dataclass(frozen=True)
class Team:
    """A group keep and those who share it: three users, and one in a container."""

    site: Site
    ada: Person
    bob: Person
    cleo: Person
    contained: Person

    @property
    def all(self) -> tuple[Person, ...]:
        return self.ada, self.bob, self.cleo, self.contained


@contextmanager
def team(place: Path | None = None) -> Iterator[Team]:
    """Make a group keep for four people, in a fresh folder or on the file system at `place`."""
    need_root()
    with ExitStack() as stack:
        base = place or stack.enter_context(public_directory())
        base.chmod(0o777)
        shown = _shown(base)
        podman = stack.enter_context(containers())
        ada, bob, cleo = (
            Person(uid, uid, base / f"home-{uid}", shown=shown) for uid in (4301, 4302, 4303)
        )
        contained = Person(4242, GROUP, base / "home-4242", inside=podman)
        directory = base / "keep"
        as_user(ada.uid, lambda: _create(directory), gid=GROUP)
        site = stack.enter_context(new_site(directory))
        yield Team(site, ada, bob, cleo, contained)


def _shown(base: Path) -> tuple[str, ...]:
    """Return what runs a program where all users reach the sources: nothing, if they do."""
    closed = [path for path in ROOT.parents if not path.stat().st_mode & stat.S_IXOTH]
    if closed:
        aside = base / "sources"
        aside.mkdir()
        paths = (ROOT, closed[-1], aside)
        return ("unshare", "--mount", "sh", "-ec", _SHOW, "sh", *map(os.fspath, paths))
    packages = sysconfig.get_paths()["purelib"]
    if not as_user(4301, lambda: os.access(packages, os.R_OK | os.X_OK)):
        unavailable(f"another user cannot read `{packages}`")
    return ()


def _create(directory: Path) -> None:
    os.umask(0o022)
    modelkeep.Keep.create(directory, mode="group", group=str(GROUP))
