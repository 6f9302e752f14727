"""Two users of one group fill one keep and load what the other pulled."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients import CLIENTS, run_client
from tests.filesystems import as_user, need_root, public_directory, unavailable
from tests.models import TINY, random_bytes
from tests.real.site import NEWEST, Site, new_site

import modelkeep

pytestmark = pytest.mark.real

ADA, BOB, GROUP = 4242, 4243, 4240
WEIGHTS = random_bytes(1_500_000, 11)

PULL = """
import modelkeep, os
os.umask(0o022)
pulled = modelkeep.open(os.environ["MODELKEEP_HOME"]).pull(REPO)
result = [pulled.bytes_fetched, pulled.bytes_stored, pulled.modes]
"""

LOAD = """
import hashlib
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
folder = snapshot_download(REPO)
result = [
    hashlib.sha256(open(hf_hub_download(REPO, "model.safetensors"), "rb").read()).hexdigest(),
    open(folder + "/config.json").read(),
    [str(w) for w in scan_cache_dir().warnings if not str(w).endswith("CACHEDIR.TAG")],
]
"""


@pytest.fixture
def shared() -> Iterator[Site]:
    """An empty group keep with two repos upstream, which have their weights in common."""
    need_root()
    packages = sysconfig.get_paths()["purelib"]
    if not as_user(ADA, lambda: os.access(packages, os.R_OK | os.X_OK)):
        unavailable(f"another user cannot read `{packages}`")
    with public_directory() as base:
        directory = base / "keep"
        as_user(ADA, lambda: _create(directory), gid=GROUP)
        with new_site(directory) as site:
            for name in ("ada", "bob"):
                site.hub.repo(f"org/{name}").commit(
                    {**TINY, "model.safetensors": WEIGHTS, "config.json": name.encode()}
                )
            yield site


def _create(directory: Path) -> None:
    os.umask(0o022)
    modelkeep.Keep.create(directory, mode="group")


def run_as(uid: int, site: Site, code: str, version: str = NEWEST, *, offline: bool = False) -> Any:
    person = ("setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={GROUP}")
    home = site.keep.directory.parent / f"home-{uid}"
    home.mkdir(exist_ok=True)
    os.chown(home, uid, uid)
    env = {
        **site.env(offline=offline),
        "MODELKEEP_HOME": str(site.keep.directory),
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    return run_client(version, code, env, within=person)


def test_each_pulls_and_loads_what_the_other_pulled(shared: Site) -> None:
    whole = len(WEIGHTS) + 1 + 3
    assert run_as(ADA, shared, f"REPO = 'org/ada'\n{PULL}")[0] == whole
    # the weights are in the store already
    fetched, stored, modes = run_as(BOB, shared, f"REPO = 'org/bob'\n{PULL}")
    assert (fetched, stored) == (3, 3)
    assert modes.get("copy") == 2

    for version in CLIENTS:
        for uid, name in ((ADA, "bob"), (BOB, "ada")):
            for offline in (True, False):
                got = run_as(uid, shared, f"REPO = 'org/{name}'\n{LOAD}", version, offline=offline)
                assert got[1:] == [name, []]
