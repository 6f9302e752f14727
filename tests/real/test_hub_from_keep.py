"""Stock huggingface_hub clients of three generations load from a keep, online and offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients import run_client, run_hf
from tests.filesystems import loop, read_only
from tests.hub import Repository
from tests.models import TINY, random_bytes
from tests.real.site import NO_NETWORK, Site, new_site

pytestmark = pytest.mark.real

REPO = "org/tiny"
BIG = {"config.json": b"{}", "model.safetensors": random_bytes(2_500_000, 7), "sub/a.txt": b"a"}

LOAD = """
import hashlib, os
from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
def digests(folder):
    return {os.path.relpath(os.path.join(base, name), folder):
            hashlib.sha256(open(os.path.join(base, name), "rb").read()).hexdigest()
            for base, _, names in os.walk(folder) for name in names}
result = {
    "by_branch": snapshot_download("org/tiny"),
    "by_commit": snapshot_download("org/tiny", revision=COMMIT),
    "by_tag": snapshot_download("org/tiny", revision="v1"),
    "config": hf_hub_download("org/tiny", "config.json"),
    "subfolder": hf_hub_download("org/tiny", "a.txt", subfolder="onnx/deep"),
    "of_commit": hf_hub_download("org/tiny", "model.safetensors", revision=COMMIT),
    "cached": try_to_load_from_cache("org/tiny", "onnx/deep/a.txt"),
    "dataset": snapshot_download("org/data", repo_type="dataset"),
    "space": snapshot_download("org/app", repo_type="space"),
}
result["digests"] = digests(result["by_branch"])
"""

# No file of a branch: 0.36 asks 20 seconds long for it before it takes what is there.
BRIEFLY = """
import os
from huggingface_hub import hf_hub_download, snapshot_download
folder = snapshot_download("org/tiny")
commit = os.path.basename(folder)
result = [folder, hf_hub_download("org/tiny", "model.safetensors", revision=commit)]
"""

SCAN = """
from huggingface_hub import scan_cache_dir
info = scan_cache_dir()
result = {
    "warnings": [str(warning) for warning in info.warnings],
    "size": info.size_on_disk,
    "repos": {
        f"{repo.repo_type}/{repo.repo_id}": [
            repo.size_on_disk, repo.nb_files, sorted(repo.refs),
            sorted(revision.commit_hash for revision in repo.revisions)]
        for repo in info.repos},
}
"""


@pytest.fixture(scope="module")
def tiny(site: Site) -> Repository:
    return filled(site)


def filled(site: Site) -> Repository:
    """Put `org/tiny` by branch and by tag, a data set and a space into the keep."""
    repo = site.hub.repo(REPO)
    repo.commit(TINY)
    repo.tag("v1")
    site.hub.repo("org/data", "dataset").commit({"train.csv": b"a\n1\n"})
    site.hub.repo("org/app", "space").commit({"app.py": b"pass\n"})
    for name in (REPO, f"{REPO}@v1", "datasets/org/data", "spaces/org/app"):
        site.keep.pull(name)
    return repo


def expected(site: Site, repo: Repository) -> dict[str, Any]:
    """What LOAD finds, wherever the network is."""
    from hashlib import sha256

    def snapshot(folder: str, commit: str) -> str:
        return str(site.cache / folder / "snapshots" / commit)

    model = snapshot("models--org--tiny", repo.sha)
    return {
        "by_branch": model,
        "by_commit": model,
        "by_tag": model,
        "config": f"{model}/config.json",
        "subfolder": f"{model}/onnx/deep/a.txt",
        "of_commit": f"{model}/model.safetensors",
        "cached": f"{model}/onnx/deep/a.txt",
        "dataset": str(next((site.cache / "datasets--org--data/snapshots").iterdir())),
        "space": str(next((site.cache / "spaces--org--app/snapshots").iterdir())),
        "digests": {path: sha256(data).hexdigest() for path, data in TINY.items()},
    }


def warnings(site: Site, client: str) -> list[str]:
    """What a scan warns of, but for the tag that newer clients leave and 0.36 does not know."""
    found: list[str] = run_client(client, SCAN, site.env(offline=True))["warnings"]
    return [warning for warning in found if not warning.endswith("/CACHEDIR.TAG")]


def load(site: Site, client: str, repo: Repository, **options: Any) -> Any:
    env = site.env(offline=options.pop("offline", False))
    return run_client(client, f"COMMIT = {repo.sha!r}\n{LOAD}", env, **options)


def test_online_every_revision_and_kind_loads_and_no_file_is_fetched(
    site: Site, tiny: Repository, client: str
) -> None:
    site.hub.clear_log()

    assert load(site, client, tiny) == expected(site, tiny)

    assert site.hub.requests
    assert site.fetched() == []


def test_offline_all_of_it_loads_without_a_request(
    site: Site, tiny: Repository, client: str
) -> None:
    site.hub.clear_log()

    assert load(site, client, tiny, offline=True) == expected(site, tiny)

    assert site.hub.requests == []


def test_without_a_network_and_without_being_told_a_snapshot_and_a_file_load(
    site: Site, tiny: Repository, client: str
) -> None:
    known = expected(site, tiny)
    assert run_client(client, BRIEFLY, site.env(), within=NO_NETWORK) == [
        known["by_branch"],
        known["of_commit"],
    ]


def test_while_the_hub_is_down_a_snapshot_and_a_file_load(
    site: Site, tiny: Repository, client: str
) -> None:
    known = expected(site, tiny)
    site.hub.down()
    try:
        got = run_client(client, BRIEFLY, site.env())
    finally:
        site.hub.up()
    assert got == [known["by_branch"], known["of_commit"]]


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path, Repository]]:
    """A filled keep on a disk of its own: site, mount, `org/tiny`."""
    with (
        loop(tmp_path_factory.mktemp("disk"), "ext4", 16) as disk,
        new_site(disk / "keep") as site,
    ):
        yield site, disk, filled(site)


@pytest.mark.parametrize("offline", [False, True])
def test_from_a_read_only_mount_all_of_it_loads(
    mounted: tuple[Site, Path, Repository], client: str, offline: bool
) -> None:
    site, disk, repo = mounted
    site.hub.clear_log()
    with read_only(disk):
        assert load(site, client, repo, offline=offline) == expected(site, repo)
    assert site.fetched() == []


def test_a_scan_has_no_warning_and_the_right_sizes(own_site: Site, client: str) -> None:
    tiny = filled(own_site)
    scan = run_client(client, SCAN, own_site.env(offline=True))

    sizes = {"model/org/tiny": 300_023, "dataset/org/data": 4, "space/org/app": 5}
    assert scan["warnings"] == []
    assert scan["size"] == sum(sizes.values())
    assert {name: facts[0] for name, facts in scan["repos"].items()} == sizes
    assert scan["repos"]["model/org/tiny"][1:] == [3, ["main", "v1"], [tiny.sha]]


def test_the_clients_own_listing_shows_no_warning(own_site: Site, client: str) -> None:
    tiny = filled(own_site)
    command = ("scan", "-v") if client < "1" else ("ls", "--revisions", "--show-warnings")
    env = {**own_site.env(offline=True), "COLUMNS": "200"}
    listed = run_hf(client, "cache", *command, env=env)

    assert tiny.sha in listed.stdout
    assert "org/data" in listed.stdout
    for word in ("warning", "ignored", "broken", "invalid"):
        assert word not in (listed.stdout + listed.stderr).lower().replace("--show-warnings", "")


def test_a_file_missing_upstream_is_remembered_and_disturbs_nobody(
    site: Site, tiny: Repository, client: str
) -> None:
    ask = """
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.utils import EntryNotFoundError
try:
    hf_hub_download("org/tiny", NAME)
except EntryNotFoundError as error:
    result = [True, isinstance(try_to_load_from_cache("org/tiny", NAME), str)]
"""
    ask = f"NAME = 'missing-{client}.json'\n{ask}"

    assert run_client(client, ask, site.env()) == [True, False]
    assert (site.cache / f"models--org--tiny/.no_exist/{tiny.sha}/missing-{client}.json").is_file()
    assert run_client(client, ask, site.env(offline=True)) == [True, False]

    listed = site.keep.show(REPO).repos[0]
    assert [(r.commit, r.files, r.complete) for r in listed.revisions] == [(tiny.sha, 3, True)]
    assert listed.bytes_unsettled == 0
    assert site.keep.pull(REPO).bytes_fetched == 0
    assert warnings(site, client) == []


def test_a_filtered_pull_serves_what_it_has_and_a_client_fetches_only_the_rest(
    own_site: Site, client: str
) -> None:
    site = own_site
    site.hub.repo("org/big").commit(BIG)
    site.keep.pull("org/big", include=["*.json"])
    part = """
from huggingface_hub import hf_hub_download, snapshot_download
import os
folder = snapshot_download("org/big", allow_patterns=["*.json"])
result = [open(hf_hub_download("org/big", "config.json")).read(), os.listdir(folder)]
"""
    whole = """
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
try:
    result = snapshot_download("org/big")
except LocalEntryNotFoundError as error:
    result = None
"""

    assert run_client(client, part, site.env(offline=True)) == ["{}", ["config.json"]]
    # 0.36 does not know `trees/` and takes what is there for all there is.
    partial = run_client(client, whole, site.env(offline=True))
    assert (partial is None) == (client >= "1")

    site.hub.clear_log()
    folder = Path(run_client(client, whole, site.env()))
    assert {path: (folder / path).read_bytes() for path in BIG} == BIG
    assert not [path for path in site.fetched() if path.endswith("config.json")]

    assert site.unsettled("org/big") == len(BIG["model.safetensors"]) + 1
    site.hub.clear_log()
    pulled = site.keep.pull("org/big")
    assert (pulled.bytes_fetched, site.fetched()) == (0, [])
    assert site.unsettled("org/big") == 0
    assert site.keep.verify("org/big").corrupt == ()


def test_what_a_client_brought_is_taken_over_by_the_next_pull(own_site: Site, client: str) -> None:
    site = own_site
    repo = site.hub.repo("org/big")
    repo.commit(BIG)
    site.keep.pull("org/big")
    weights = random_bytes(2_500_000, 8)
    repo.commit({"config.json": b'{"new": 1}', "model.safetensors": weights}, update=True)
    code = "from huggingface_hub import snapshot_download\nresult = snapshot_download('org/big')"
    assert Path(run_client(client, code, site.env())).name == repo.sha
    assert site.unsettled("org/big") == len(weights) + len(b'{"new": 1}')

    site.hub.clear_log()
    pulled = site.keep.pull("org/big")

    assert (pulled.commit, pulled.bytes_fetched, site.fetched()) == (repo.sha, 0, [])
    assert pulled.bytes_stored == len(weights) + len(b'{"new": 1}')
    assert site.unsettled("org/big") == 0
    assert (pulled.snapshot / "model.safetensors").stat().st_mode & 0o777 == 0o444
    located = site.keep.where("org/big").files
    assert all(file.intact for file in located)
    assert run_client(client, code, site.env(offline=True)) == str(pulled.snapshot)
    assert warnings(site, client) == []
