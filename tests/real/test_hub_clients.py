"""Stock clients of three generations take the stand-in for the Hub."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.clients import CLIENTS, python_of, run_client, run_hf
from tests.hub import Hub, Repository, Status, Truncate
from tests.models import TINY, files_of, random_bytes

pytestmark = pytest.mark.real

NEWEST = next(iter(CLIENTS))
PLAIN = {"HF_HUB_DISABLE_XET": "1"}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    version: str = request.param
    python_of(version)
    return version


def test_the_clients_are_the_versions_they_are_named_after(client: str) -> None:
    code = "import huggingface_hub; result = huggingface_hub.__version__"
    assert run_client(client, code) == client


@pytest.mark.parametrize("cache_route", [False, True])
def test_a_snapshot_has_every_byte(
    hub: Hub, tiny_repo: Repository, client: str, cache_route: bool
) -> None:
    hub.cache_route = cache_route
    code = "from huggingface_hub import snapshot_download\nresult = snapshot_download('org/tiny')"
    folder = Path(run_client(client, code))
    assert folder.name == tiny_repo.sha
    assert {path: (folder / path).read_bytes() for path in TINY} == TINY
    assert hub.bytes_sent(origin="cdn") == len(TINY["model.safetensors"])


def test_one_file_by_branch_tag_pull_request_and_commit(
    hub: Hub, tiny_repo: Repository, client: str
) -> None:
    old = tiny_repo.sha
    tiny_repo.tag("v1")
    tiny_repo.commit({"config.json": b"new"}, update=True)
    tiny_repo.commit({"config.json": b"proposed"}, branch="refs/pr/1")
    code = f"""
from huggingface_hub import hf_hub_download
result = [open(hf_hub_download("org/tiny", "config.json", revision=revision)).read()
          for revision in ("main", "v1", "refs/pr/1", {old!r})]
"""
    config = TINY["config.json"].decode()
    assert run_client(client, code) == ["new", config, "proposed", config]


def test_trees_refs_history_and_file_facts(hub: Hub, tiny_repo: Repository, client: str) -> None:
    tiny_repo.commit({f"d/{n:03}.txt": b"x" for n in range(40)}, update=True, message="More")
    tiny_repo.tag("v1")
    hub.page_size = 7
    hub.token("hf_abc", user="ada")
    code = """
from huggingface_hub import HfApi
api = HfApi()
weights = api.get_paths_info("org/tiny", ["model.safetensors", "missing"])[0]
result = {
    "tree": sum(1 for _ in api.list_repo_tree("org/tiny", recursive=True)),
    "files": len(api.list_repo_files("org/tiny")),
    "tags": [tag.name for tag in api.list_repo_refs("org/tiny").tags],
    "history": [commit.title for commit in api.list_repo_commits("org/tiny")],
    "sha256": weights.lfs.sha256,
    "expanded": api.get_paths_info("org/tiny", "config.json", expand=True)[0].last_commit.title,
    "sizes": sum(s.size for s in api.model_info("org/tiny", files_metadata=True).siblings),
    "exists": [api.file_exists("org/tiny", "config.json"), api.file_exists("org/tiny", "nothing"),
               api.repo_exists("org/nothing"), api.revision_exists("org/tiny", "v9")],
    "whoami": api.whoami(token="hf_abc")["name"],
}
"""
    facts = run_client(client, code)
    assert facts == {
        "tree": 46,
        "files": 43,
        "tags": ["v1"],
        "history": ["More", "Upload files"],
        "sha256": hashlib.sha256(TINY["model.safetensors"]).hexdigest(),
        "expanded": "More",
        "sizes": sum(map(len, TINY.values())) + 40,
        "exists": [True, False, False, False],
        "whoami": "ada",
    }
    assert len(hub.matching("*/tree/main")) == 2 * 7


def test_refusals_are_the_clients_own_exceptions(
    hub: Hub, tiny_repo: Repository, client: str
) -> None:
    hub.repo("org/secret", private=True).commit({"a.txt": b"a"})
    hub.repo("org/gated", gated=True).commit({"a.txt": b"a", "b.bin": b"b"})
    hub.token("hf_member", grants=["org/secret", "org/gated"])
    hub.token("hf_outsider")
    code = """
from huggingface_hub import hf_hub_download, snapshot_download
def outcome(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except Exception as error:
        return type(error).__name__
    return "ok"
result = [
    outcome(hf_hub_download, "org/nothing", "a.txt"),
    outcome(hf_hub_download, "org/tiny", "a.txt"),
    outcome(hf_hub_download, "org/tiny", "a.txt", revision="v9"),
    *(outcome(hf_hub_download, repo, "a.txt", token=token)
      for repo in ("org/secret", "org/gated") for token in (False, "hf_outsider", "hf_member")),
    outcome(snapshot_download, "org/gated", token="hf_outsider"),
    outcome(snapshot_download, "org/gated", token="hf_member"),
]
"""
    missing, gated = "RepositoryNotFoundError", "GatedRepoError"
    entry = {"EntryNotFoundError", "RemoteEntryNotFoundError"}
    first, second, third, *rest = run_client(client, code)
    assert (first, third) == (missing, "RevisionNotFoundError")
    assert second in entry
    assert rest == [missing, missing, "ok", gated, gated, "ok", gated, "ok"]
    assert any(request.authorized for request in hub.matching(origin="hub"))
    assert not any(request.authorized for request in hub.matching(origin="cdn"))
    assert hub.gets("b.bin")


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_other_kinds_and_short_names(hub: Hub, client: str, kind: str) -> None:
    hub.repo("org/other", kind).commit({"a.txt": b"a", "b.bin": b"b"})
    hub.repo("gpt2").commit({"config.json": b"{}", "w.bin": b"w"})
    code = f"""
import os
from huggingface_hub import snapshot_download
result = [sorted(os.listdir(snapshot_download("org/other", repo_type={kind!r}))),
          sorted(os.listdir(snapshot_download("gpt2")))]
"""
    assert run_client(client, code) == [["a.txt", "b.bin"], ["config.json", "w.bin"]]


def test_a_moved_repository_is_followed(hub: Hub, tiny_repo: Repository, client: str) -> None:
    hub.move(tiny_repo, "new-org/tiny")
    code = (
        "from huggingface_hub import hf_hub_download\n"
        "result = [open(hf_hub_download('org/tiny', name), 'rb').read().hex()"
        " for name in ('config.json', 'model.safetensors')]"
    )
    got = run_client(client, code)
    assert got == [TINY["config.json"].hex(), TINY["model.safetensors"].hex()]


def test_the_hub_as_a_file_system(hub: Hub, tiny_repo: Repository, client: str) -> None:
    code = """
from huggingface_hub import HfFileSystem
fs = HfFileSystem()
with fs.open("org/tiny/model.safetensors", block_size=65536) as file:
    file.seek(150_000)
    part = file.read(16).hex()
result = [sorted(fs.glob("org/tiny/**/*.txt")), fs.cat("org/tiny/config.json").decode(), part]
"""
    weights = TINY["model.safetensors"]
    assert run_client(client, code) == [
        ["org/tiny/onnx/deep/a.txt"],
        TINY["config.json"].decode(),
        weights[150_000:150_016].hex(),
    ]


def test_the_command_line(hub: Hub, tiny_repo: Repository, client: str) -> None:
    done = run_hf(client, "download", "org/tiny")
    assert tiny_repo.sha in done.stdout
    if client == NEWEST:
        run_hf(client, "cache", "verify", "org/tiny", "--fail-on-missing-files")


def test_xet_files_come_through_the_xet_store(hub: Hub, tiny_repo: Repository, client: str) -> None:
    hub.xet = True
    code = "from huggingface_hub import snapshot_download\nresult = snapshot_download('org/tiny')"
    folder = Path(run_client(client, code))
    assert (folder / "model.safetensors").read_bytes() == TINY["model.safetensors"]
    assert len(hub.matching("*/xet-read-token/*")) == 1
    assert hub.gets("model.safetensors") == []


def test_a_mirror_that_announces_xet_and_has_no_tokens_fails(
    hub: Hub, tiny_repo: Repository
) -> None:
    hub.xet, hub.xet_tokens = True, False
    code = "from huggingface_hub import snapshot_download\nresult = snapshot_download('org/tiny')"
    with pytest.raises(subprocess.CalledProcessError):
        run_client(NEWEST, code)
    folder = Path(run_client(NEWEST, code, PLAIN))
    assert (folder / "model.safetensors").read_bytes() == TINY["model.safetensors"]


@pytest.mark.parametrize("version", [version for version in CLIENTS if version >= "1"])
def test_a_client_resumes_after_a_truncated_body(
    hub: Hub, tiny_repo: Repository, version: str
) -> None:
    weights = random_bytes(30_000_000)
    tiny_repo.commit({"model.safetensors": weights})
    hub.fault("*.safetensors", Truncate(at=20_000_000), origin="cdn")
    code = (
        "from huggingface_hub import hf_hub_download\n"
        "result = hf_hub_download('org/tiny', 'model.safetensors')"
    )
    assert Path(run_client(version, code)).read_bytes() == weights
    ranges = [request.range for request in hub.gets("model.safetensors")]
    assert ranges[0] is None
    assert ranges[1] is not None
    assert hub.bytes_sent(origin="cdn") < 45_000_000


def test_the_newest_client_tries_again_after_errors(hub: Hub, tiny_repo: Repository) -> None:
    planned = [
        hub.fault("/api/models/*/tree/*", Status(503)),
        hub.fault("*/model.safetensors", Status(429, retry_after=1), origin="cdn"),
    ]
    code = "from huggingface_hub import snapshot_download\nresult = snapshot_download('org/tiny')"
    folder = Path(run_client(NEWEST, code))
    assert (folder / "model.safetensors").read_bytes() == TINY["model.safetensors"]
    assert [fault.hits for fault in planned] == [1, 1]


def test_datasets_of_csv_and_parquet_load(hub: Hub) -> None:
    make = """
import io, pyarrow, pyarrow.parquet
buffer = io.BytesIO()
pyarrow.parquet.write_table(pyarrow.table({"n": [1, 2, 3]}), buffer)
result = buffer.getvalue().hex()
"""
    table = bytes.fromhex(run_client(NEWEST, make))
    hub.repo("org/csv", "dataset").commit({"train.csv": b"a,b\n1,x\n2,y\n"})
    hub.repo("org/parquet", "dataset").commit({"data/train.parquet": table})
    code = """
from datasets import load_dataset
result = [load_dataset(name, split="train").to_list() for name in ("org/csv", "org/parquet")]
"""
    csv, parquet = run_client(NEWEST, code)
    assert csv == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert parquet == [{"n": 1}, {"n": 2}, {"n": 3}]


@pytest.mark.parametrize("shape", ["tiny_bert_dir", "sharded_bert_dir"])
def test_transformers_load_a_model_and_its_tokenizer(
    hub: Hub, shape: str, request: pytest.FixtureRequest
) -> None:
    files: dict[str, Any] = files_of(request.getfixturevalue(shape))
    hub.repo("org/bert").commit(files)
    assert ("model.safetensors.index.json" in files) == (shape == "sharded_bert_dir")
    code = """
from transformers import AutoModel, AutoTokenizer
model = AutoModel.from_pretrained("org/bert")
tokens = AutoTokenizer.from_pretrained("org/bert")("the cat sat", return_tensors="pt")
result = list(model(**tokens).last_hidden_state.shape)
"""
    assert run_client(NEWEST, code) == [1, 5, 64]
