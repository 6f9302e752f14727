"""Stock clients download into the keep's own hub, and find what was settled as they left it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.clients import CLIENTS, run_client, run_hf
from tests.keeping import content
from tests.models import random_bytes
from tests.real.site import NEWEST, NO_NETWORK, Site, pictured

pytestmark = pytest.mark.real

FILES = {
    "config.json": b"{}",
    "model.safetensors": random_bytes(2_500_000, 21),
    "small.safetensors": b"small",
    "sub/deep/a.txt": b"a",
}
SIZE = sum(map(len, FILES.values()))
SHARING = {"HF_HUB_DISABLE_SHARED_BLOBS": "0"}
UNLINKED = {"HF_HUB_DISABLE_SYMLINKS": "1"}

LOAD = """
from huggingface_hub import scan_cache_dir, snapshot_download
result = {
    "top": snapshot_download(REPO),
    "warnings": [str(w) for w in scan_cache_dir().warnings
                 if not str(w).endswith(("CACHEDIR.TAG", "hub/blobs"))],
}
"""


def load(
    site: Site,
    version: str,
    repo: str,
    env: Mapping[str, str] = MappingProxyType({}),
    *,
    offline: bool = False,
) -> Any:
    code = f"REPO = {repo!r}\n{LOAD}"
    return run_client(
        version,
        code,
        {**site.env(offline=offline), **env},
        within=NO_NETWORK if offline else (),
    )


def test_what_any_client_brought_is_settled_and_loads_in_all(own_site: Site, client: str) -> None:
    site = own_site
    site.hub.repo("org/brought").commit(FILES)
    top = Path(load(site, client, "org/brought")["top"])
    assert site.unsettled("org/brought") == SIZE

    settled = site.keep.settle()

    assert (settled.files, settled.bytes_total) == (4, SIZE)
    assert (settled.skipped, settled.corrupt) == ((), ())
    assert site.unsettled("org/brought") == 0
    assert content(top) == FILES
    assert site.keep.verify().ok
    site.hub.clear_log()
    for version in CLIENTS:
        for offline in (True, False):
            loaded = load(site, version, "org/brought", offline=offline)
            assert loaded == {"top": str(top), "warnings": []}
    assert site.fetched() == []
    assert site.keep.settle().files == 0


def test_no_command_line_complains(own_site: Site) -> None:
    site = own_site
    site.hub.repo("org/brought").commit(FILES)
    load(site, NEWEST, "org/brought")
    site.keep.settle()
    listed = run_hf(NEWEST, "cache", "ls", "--show-warnings", env=site.env())
    assert "org/brought" in listed.stdout
    assert "arning" not in listed.stdout + listed.stderr
    verified = run_hf(NEWEST, "cache", "verify", "org/brought", env=site.env())
    assert "❌" not in verified.stdout + verified.stderr


def test_payloads_in_the_clients_own_store_are_shared_not_moved(own_site: Site) -> None:
    site = own_site
    site.hub.xet = True
    for name in ("org/one", "org/two"):
        site.hub.repo(name).commit(FILES)
    one = Path(load(site, NEWEST, "org/one", SHARING)["top"])
    two = Path(load(site, NEWEST, "org/two", SHARING)["top"])
    payload = (one / "model.safetensors").resolve()
    assert payload == (two / "model.safetensors").resolve()
    assert payload.is_relative_to(site.cache / "blobs")
    before = pictured(site.cache / "blobs")

    settled = site.keep.settle()

    assert (settled.files, settled.skipped, settled.bytes_freed) == (8, (), 0)
    assert pictured(site.cache / "blobs") == before
    for top in (one, two):
        blob = (top / "model.safetensors").resolve()
        assert blob.parent == top.parent.parent / "blobs"
        assert blob.samefile(payload)  # no byte is there twice
    held = site.keep.show("org/one").store
    assert held.bytes == SIZE
    for version in CLIENTS:
        for name, top in (("org/one", one), ("org/two", two)):
            found = load(site, version, name, offline=True)
            assert found == {"top": str(top), "warnings": []}
    run_hf(NEWEST, "cache", "prune", "-y", env=site.env())
    assert site.keep.verify().ok
    assert content(one) == content(two) == FILES


@pytest.mark.parametrize(("version", "xet"), [*((v, False) for v in CLIENTS), (NEWEST, True)])
def test_a_running_download_ends_well(own_site: Site, version: str, xet: bool) -> None:
    site = own_site
    site.hub.xet = xet
    files = {
        f"part-{number}.safetensors": random_bytes(1_200_000, number % 4) for number in range(6)
    } | {f"{number}.json": b"%d" % (number % 7) for number in range(12)}
    names = ("org/one", "org/two")
    for name in names:
        site.hub.repo(name).commit(files)
    site.hub.rate_limit_per_connection(2_000_000)
    code = f"""
from huggingface_hub import snapshot_download
result = [snapshot_download(name) for name in {names!r}]
"""
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run_client, version, code, {**site.env(), **SHARING})
        rounds = files_settled = 0
        while wait([running], timeout=0.05).not_done:
            done = site.keep.settle()
            assert (done.corrupt, done.skipped) == ((), ())
            rounds += bool(done.files)
            files_settled += done.files
    tops = list(map(Path, running.result()))
    site.keep.settle()

    assert rounds > 1
    assert files_settled > 0
    assert [content(top) for top in tops] == [files, files]
    assert all(site.unsettled(name) == 0 for name in names)
    assert site.keep.verify().ok
    assert site.keep.list().store.bytes == sum(map(len, set(files.values())))
    for top, name in zip(tops, names, strict=True):
        assert load(site, version, name, offline=True)["top"] == str(top)


def test_a_client_without_links_is_settled_too(own_site: Site) -> None:
    site = own_site
    site.hub.repo("org/brought").commit(FILES)
    top = Path(load(site, NEWEST, "org/brought", UNLINKED)["top"])
    assert not (top / "model.safetensors").is_symlink()
    assert site.unsettled("org/brought") == SIZE

    assert site.keep.settle().files == 4

    assert (top / "model.safetensors").is_symlink()
    assert site.unsettled("org/brought") == 0
    for env in ({}, UNLINKED):
        found = load(site, NEWEST, "org/brought", env, offline=True)
        assert found == {"top": str(top), "warnings": []}
    assert content(top) == FILES
