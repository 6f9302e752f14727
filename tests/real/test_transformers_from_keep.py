"""Stock transformers loads from a keep: models, tokenizers, pipelines, also where it cannot write.

One process loads all of it, since importing takes longer than loading.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.clients import run_client
from tests.filesystems import as_user, loop, public_directory, read_only, unavailable
from tests.models import files_of
from tests.real.site import NEWEST, NO_NETWORK, Site, new_site

pytestmark = pytest.mark.real

LOAD = """
import sys
connected = []
def watch(event, arguments):
    if event == "socket.connect":
        connected.append(str(arguments[1]))
sys.addaudithook(watch)
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, pipeline

def numbers(name, **options):
    tokens = AutoTokenizer.from_pretrained(name, **options)("the cat sat", return_tensors="pt")
    with torch.no_grad():
        state = AutoModel.from_pretrained(name, **options)(**tokens).last_hidden_state
    return state[0, 1, :4].tolist()

result = {
    "hidden": AutoConfig.from_pretrained("org/bert").hidden_size,
    "single": numbers("org/bert"),
    "by_commit": numbers("org/bert", revision=COMMIT),
    "sharded": numbers("org/sharded"),
    "pipeline": pipeline("feature-extraction", model="org/bert")("the cat sat")[0][1][:4],
    "connected": connected,
}
"""

# Online, the tokenizer of a repo that the Hub does not know is an error of transformers.
LOAD_ADDED = (
    LOAD
    + """
result["added"] = numbers("me/mine", revision="v2")
"""
)

# No tokenizer: without a network transformers asks for minutes what chat templates there are.
BRIEFLY = """
from transformers import AutoConfig, AutoModel
weights = AutoModel.from_pretrained("org/bert").state_dict()
result = [AutoConfig.from_pretrained("org/bert").hidden_size, len(weights)]
"""


@pytest.fixture(scope="module")
def numbers(tiny_bert_dir: Path) -> Any:
    """What the model says, loaded from the folder it was saved to."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tiny_bert_dir)("the cat sat", return_tensors="pt")
    with torch.no_grad():
        state = AutoModel.from_pretrained(tiny_bert_dir)(**tokens).last_hidden_state
    return pytest.approx(state[0, 1, :4].tolist(), abs=1e-6)


def fill(site: Site, single: Path, sharded: Path, scratch: Path) -> str:
    """Pull both models and add one that only its owner can read; return the first's commit."""
    saved = scratch / "saved"
    shutil.copytree(single, saved)
    for path in saved.iterdir():
        path.chmod(0o600)
    site.keep.add(saved, "me/mine")
    site.keep.add(saved, "me/mine", "v2")
    site.hub.repo("org/bert").commit(files_of(single))
    site.hub.repo("org/sharded").commit(files_of(sharded))
    site.keep.pull("org/sharded")
    return site.keep.pull("org/bert").commit


@pytest.fixture(scope="module")
def commit(
    site: Site,
    tiny_bert_dir: Path,
    sharded_bert_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    return fill(site, tiny_bert_dir, sharded_bert_dir, tmp_path_factory.mktemp("mine"))


@pytest.fixture(scope="module")
def mounted(
    tiny_bert_dir: Path, sharded_bert_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, Path, str]]:
    """A keep on a disk of its own, which any user can reach: site, mount, commit."""
    with (
        public_directory() as base,
        loop(base, "ext4", 64) as disk,
        new_site(disk / "keep") as site,
    ):
        scratch = tmp_path_factory.mktemp("mine")
        yield site, disk, fill(site, tiny_bert_dir, sharded_bert_dir, scratch)


def load(
    site: Site,
    commit: str,
    *,
    offline: bool = False,
    env: Mapping[str, str] | None = None,
    within: Sequence[str] = (),
) -> dict[str, Any]:
    code = f"COMMIT = {commit!r}\n{LOAD_ADDED if offline else LOAD}"
    environment = {**site.env(offline=offline), **(env or {})}
    got: dict[str, Any] = run_client(NEWEST, code, environment, within=within)
    return got


def check(got: dict[str, Any], numbers: Any) -> None:
    assert got["hidden"] == 64
    for way in {"single", "by_commit", "sharded", "pipeline", "added"} & got.keys():
        assert got[way] == numbers


def test_online_no_file_is_fetched_and_what_is_noted_disturbs_nobody(
    site: Site, commit: str, numbers: Any
) -> None:
    site.hub.clear_log()

    check(load(site, commit), numbers)

    assert site.hub.requests
    assert list((site.cache / "models--org--bert/.no_exist").rglob("*.json"))
    for repo in ("org/bert", "org/sharded"):
        pulled = site.keep.pull(repo)
        assert (pulled.bytes_fetched, pulled.bytes_stored) == (0, 0)
        listed = site.keep.show(repo).repos[0]
        assert [revision.complete for revision in listed.revisions] == [True]
        assert listed.bytes_unsettled == 0
    assert site.fetched() == []


def test_offline_nothing_is_connected_to(site: Site, commit: str, numbers: Any) -> None:
    site.hub.clear_log()

    got = load(site, commit, offline=True)

    check(got, numbers)
    assert got["added"]
    assert (got["connected"], site.hub.requests) == ([], [])


def test_without_a_network_and_without_being_told_a_model_loads(site: Site, commit: str) -> None:
    assert run_client(NEWEST, BRIEFLY, site.env(), within=NO_NETWORK) == [64, 39]


@pytest.mark.parametrize("offline", [False, True])
def test_a_keep_on_a_read_only_mount_loads(
    mounted: tuple[Site, Path, str], numbers: Any, offline: bool
) -> None:
    site, disk, commit = mounted
    site.hub.clear_log()
    with read_only(disk):
        check(load(site, commit, offline=offline), numbers)
    assert site.fetched() == []


@pytest.mark.parametrize("offline", [False, True])
def test_a_keep_of_another_user_loads(
    mounted: tuple[Site, Path, str], numbers: Any, offline: bool
) -> None:
    site, _, commit = mounted
    packages = sysconfig.get_paths()["purelib"]
    if not as_user(4242, lambda: os.access(packages, os.R_OK | os.X_OK)):
        unavailable(f"another user cannot read `{packages}`")
    before = sorted(site.cache.rglob("*"))
    with public_directory() as home:
        nobody = ("setpriv", "--reuid=4242", "--regid=4242", "--clear-groups")
        env = {"HOME": str(home), "HF_HOME": str(home), "XDG_CACHE_HOME": str(home)}
        site.hub.clear_log()
        check(load(site, commit, offline=offline, env=env, within=nobody), numbers)
    assert site.fetched() == []
    assert sorted(site.cache.rglob("*")) == before


def test_an_added_model_loads_by_name_with_every_client(
    site: Site, commit: str, client: str
) -> None:
    code = """
from huggingface_hub import hf_hub_download, snapshot_download
result = [snapshot_download("me/mine"), hf_hub_download("me/mine", "config.json", revision="v2")]
"""
    snapshot = next((site.cache / "models--me--mine/snapshots").iterdir())
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in snapshot.iterdir())

    for offline in (True, False):
        got = run_client(client, code, site.env(offline=offline))
        assert got == [str(snapshot), str(snapshot / "config.json")]
