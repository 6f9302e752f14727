"""What `link` puts into another cache belongs to stock clients, and the keep stays whole."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from tests.clients import CLIENTS, run_client, run_hf
from tests.models import TINY, random_bytes
from tests.real.site import Site, pictured

pytestmark = pytest.mark.real

WEIGHTS = random_bytes(1_500_000, 5)

LOAD = """
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
folder = snapshot_download("org/big")
result = [
    folder,
    open(hf_hub_download("org/big", "onnx/deep/a.txt")).read(),
    len(open(folder + "/large.safetensors", "rb").read()),
    [str(warning) for warning in scan_cache_dir().warnings],
]
"""

DELETE = """
from huggingface_hub import scan_cache_dir
info = scan_cache_dir()
info.delete_revisions(COMMIT).execute()
result = len(scan_cache_dir().repos)
"""


class Linked(NamedTuple):
    """A keep, and a second cache with two of its revisions."""

    site: Site
    second: Path
    older: str
    newer: str


@pytest.fixture
def linked(own_site: Site, tmp_path: Path) -> Linked:
    repo = own_site.hub.repo("org/big")
    older = repo.commit({**TINY, "large.safetensors": WEIGHTS})
    own_site.keep.pull("org/big")
    newer = repo.commit({"config.json": b"new"}, update=True)
    own_site.keep.pull("org/big")
    second = tmp_path / "second"
    for revision in (older, "main"):
        own_site.keep.link("org/big", revision, into=second)
    return Linked(own_site, second, older, newer)


def test_stock_clients_load_from_the_second_cache(linked: Linked, client: str) -> None:
    site, second = linked.site, linked.second
    snapshot = second / "models--org--big/snapshots" / linked.newer
    site.hub.clear_log()

    for offline in (False, True):
        got = run_client(client, LOAD, site.env(second, offline=offline))
        assert got[:3] == [str(snapshot), "a", len(WEIGHTS)]
        assert [w for w in got[3] if not w.endswith("CACHEDIR.TAG")] == []

    assert site.fetched() == []
    blob = (snapshot / "large.safetensors").resolve()
    assert blob.samefile((site.cache / blob.relative_to(second)).resolve())


def test_deleting_there_leaves_the_keep_whole(linked: Linked, client: str) -> None:
    site, second = linked.site, linked.second
    before = pictured(site.cache), pictured(site.keep.store.layout.blobs)

    # first one of two revisions, then the last one, which takes the repo along
    for commit, left in ((linked.older, 1), (linked.newer, 0)):
        code = f"COMMIT = {commit!r}\n{DELETE}"
        assert run_client(client, code, site.env(second, offline=True)) == left

    assert (pictured(site.cache), pictured(site.keep.store.layout.blobs)) == before
    report = site.keep.verify()
    assert (report.corrupt, report.missing) == ((), ())
    assert run_client(client, LOAD, site.env(offline=True))[1:3] == ["a", len(WEIGHTS)]

    linked_again = site.keep.link("org/big", into=second)
    assert linked_again.modes["hardlink"] == 1
    assert run_client(client, LOAD, site.env(second, offline=True))[2] == len(WEIGHTS)


# 0.36 has no such command that asks nothing.
@pytest.mark.parametrize("version", [version for version in CLIENTS if version >= "1"])
def test_the_clients_command_deletes_as_well(linked: Linked, version: str) -> None:
    site, second = linked.site, linked.second
    before = pictured(site.keep.store.layout.blobs)

    run_hf(version, "cache", "rm", "model/org/big", "-y", env=site.env(second, offline=True))

    assert not (second / "models--org--big").exists()
    assert pictured(site.keep.store.layout.blobs) == before
    plan = site.keep.plan_removal("org/big")
    removed = site.keep.remove(plan)
    assert removed.bytes_freed > len(WEIGHTS)
    assert not list(site.keep.store.blobs())


def test_deleting_in_the_keep_itself_costs_no_content(linked: Linked, client: str) -> None:
    site = linked.site
    before = pictured(site.keep.store.layout.blobs)

    for commit in (linked.older, linked.newer):
        run_client(client, f"COMMIT = {commit!r}\n{DELETE}", site.env(offline=True))
    assert not (site.cache / "models--org--big").exists()

    assert pictured(site.keep.store.layout.blobs) == before
    site.hub.clear_log()
    assert site.keep.pull("org/big").bytes_fetched == 0
    assert site.fetched() == []
    assert run_client(client, LOAD, site.env(offline=True))[2] == len(WEIGHTS)
