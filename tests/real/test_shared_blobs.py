"""The blob store that clients from 1.32 on keep beside their repos is read through, never touched.

In it, `<cache>/blobs/<2 hex>/<xet hash>` holds the payload of Xet files, and a repo's blob is a
link to it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.clients import CLIENTS, run_client
from tests.models import random_bytes
from tests.real.site import NEWEST, Site, pictured

pytestmark = pytest.mark.real

WEIGHTS = random_bytes(2_500_000, 9)
FILES = {"config.json": b"{}", "small.safetensors": b"small", "model.safetensors": WEIGHTS}
LOAD = "from huggingface_hub import snapshot_download\nresult = snapshot_download('org/xet')"

# Of two revisions one: clients before 1.32 then delete the payload, whoever else links to it.
DELETE = """
from huggingface_hub import scan_cache_dir
info = scan_cache_dir()
other = next(repo for repo in info.repos if repo.repo_id == "org/other")
older = next(revision for revision in other.revisions if not revision.refs)
info.delete_revisions(older.commit_hash).execute()
"""


@pytest.fixture
def shared(own_site: Site) -> Site:
    """A keep into whose hub a client put two repos that share a payload in the client's store."""
    own_site.hub.xet = True
    env = own_site.env() | {"HF_HUB_DISABLE_SHARED_BLOBS": "0"}
    other, repo = own_site.hub.repo("org/other"), own_site.hub.repo("org/xet")
    other.commit(FILES, message="With weights")
    repo.commit(FILES)
    for name in ("org/other", "org/xet"):
        snapshot = Path(run_client(NEWEST, LOAD.replace("org/xet", name), env))
        payload = (snapshot / "model.safetensors").resolve()
        assert payload.is_relative_to(own_site.cache / "blobs"), "the client shares no blobs"
    other.commit({"config.json": b"{}"}, message="Without weights")
    run_client(NEWEST, LOAD.replace("org/xet", "org/other"), env)
    return own_site


def payloads(site: Site) -> dict[str, str]:
    return pictured(site.cache / "blobs")


def test_a_pull_takes_the_payload_over_and_no_longer_depends_on_it(shared: Site) -> None:
    site = shared
    before = payloads(site)
    assert site.unsettled("org/xet") == sum(map(len, FILES.values()))
    site.hub.clear_log()

    pulled = site.keep.pull("org/xet")

    assert (pulled.bytes_fetched, site.fetched()) == (0, [])
    assert site.unsettled("org/xet") == 0
    assert payloads(site) == before
    blobs = [(pulled.snapshot / name).resolve().parent for name in FILES]
    assert set(blobs) == {site.cache / "models--org--xet/blobs"}
    modes = site.keep.pull("org/xet").modes
    assert (modes["hardlink"], modes["copy"]) == (1, 2)
    assert run_client(NEWEST, LOAD, site.env(offline=True)) == str(pulled.snapshot)


@pytest.mark.parametrize("version", CLIENTS)
def test_a_client_that_deletes_another_repos_payload_harms_nothing_pulled(
    shared: Site, tmp_path: Path, version: str
) -> None:
    site = shared
    site.keep.pull("org/xet")
    site.keep.link("org/xet", into=tmp_path / "second")

    run_client(version, DELETE, site.env(offline=True))

    assert site.keep.verify().corrupt == ()
    for cache in (site.cache, tmp_path / "second"):
        again = Path(run_client(NEWEST, LOAD, site.env(cache, offline=True)))
        assert {name: (again / name).read_bytes() for name in FILES} == FILES


def test_a_removal_leaves_the_clients_own_store_alone(shared: Site) -> None:
    site = shared
    site.keep.pull("org/xet")
    before = payloads(site)

    site.keep.remove(site.keep.plan_removal("org/xet"))

    assert payloads(site) == before
    assert not (site.cache / "models--org--xet").exists()
