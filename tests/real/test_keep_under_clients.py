"""A keep is filled the same way whichever huggingface_hub it finds beside itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.clients import CLIENTS, run_client
from tests.hub import Hub
from tests.models import TINY, random_bytes
from tests.real.site import NEWEST, OLDER, pictured

pytestmark = pytest.mark.real

FILES = {**TINY, "large.safetensors": random_bytes(1_500_000, 3)}

PULL = """
import modelkeep, os
keep = modelkeep.open(os.environ["MODELKEEP_HOME"])
result = []
for name in ("org/tiny", "org/tiny@v1", "datasets/org/data", "spaces/org/app"):
    pulled = keep.pull(name)
    result.append([pulled.type, pulled.commit, pulled.files, pulled.bytes_total,
                   pulled.bytes_fetched, pulled.bytes_stored, pulled.modes])
"""

OUTCOME = """
import modelkeep, os
keep = modelkeep.open(os.environ["MODELKEEP_HOME"])
def outcome(name, **options):
    try:
        keep.pull(name, **options)
    except modelkeep.ModelkeepError as error:
        return [type(error).__name__, error.message, error.hint, error.exit_code]
    return "ok"
"""

REFUSALS = """
result = {
    "unknown": outcome("org/nothing"),
    "revision": outcome("org/tiny@v9"),
    "commit": outcome("org/tiny@" + "0" * 40),
    "private": outcome("org/secret"),
    "private, other's token": outcome("org/secret", token="hf_outsider"),
    "private, granted": outcome("org/secret", token="hf_member"),
    "gated": outcome("org/gated"),
    "gated, other's token": outcome("org/gated", token="hf_outsider"),
    "gated, granted": outcome("org/gated", token="hf_member"),
    "no such token": outcome("org/tiny", token="hf_unknown"),
    "dataset as model": outcome("org/data"),
    "no file": outcome("org/tiny", include=["*.gguf"]),
}
"""


@pytest.fixture
def filled_hub(hub: Hub) -> Hub:
    repo = hub.repo("org/tiny")
    repo.commit({"config.json": b"old"})
    repo.tag("v1")
    repo.commit(FILES)
    hub.repo("org/data", "dataset").commit({"train.csv": b"a\n1\n", "t.parquet": b"p"})
    hub.repo("org/app", "space").commit({"app.py": b"pass\n"})
    hub.repo("org/secret", private=True).commit({"a.txt": b"a"})
    hub.repo("org/gated", gated=True).commit({"a.txt": b"a", "b.bin": b"b"})
    hub.token("hf_member", grants=["org/secret", "org/gated"])
    hub.token("hf_outsider")
    return hub


def run_in(version: str, keep: Path, code: str, env: dict[str, str] | None = None) -> Any:
    return run_client(version, code, {"MODELKEEP_HOME": str(keep), **(env or {})})


def test_the_same_files_links_modes_and_answers_come_of_it(filled_hub: Hub, tmp_path: Path) -> None:
    answers, pictures = {}, {}
    for version in CLIENTS:
        keep = tmp_path / version
        answers[version] = run_in(version, keep, PULL)
        pictures[version] = pictured(keep / "hub")
        pictures[version] |= {
            f"store/{path}": what for path, what in pictured(keep / "store/blobs").items()
        }

    whole = sum(map(len, FILES.values()))
    assert answers[NEWEST][0][2:6] == [4, whole, whole, whole]
    assert len(pictures[NEWEST]) > 500
    for version in OLDER:
        assert answers[version] == answers[NEWEST]
        assert pictures[version] == pictures[NEWEST]


def test_refusals_are_told_in_the_same_words(filled_hub: Hub, tmp_path: Path) -> None:
    told = {version: run_in(version, tmp_path / version, OUTCOME + REFUSALS) for version in CLIENTS}

    kinds = {
        case: answer if answer == "ok" else (answer[0], answer[3])
        for case, answer in told[NEWEST].items()
    }
    missing, gated = ("NotFoundError", 1), ("GatedError", 4)
    assert kinds == {
        "unknown": missing,
        "revision": missing,
        "commit": missing,
        "private": missing,
        "private, other's token": missing,
        "private, granted": "ok",
        "gated": gated,
        "gated, other's token": gated,
        "gated, granted": "ok",
        "no such token": ("AccessError", 4),
        "dataset as model": missing,
        "no file": missing,
    }
    assert "`v9`" in told[NEWEST]["revision"][1]
    assert "datasets/org/data" in told[NEWEST]["dataset as model"][2]
    for version in OLDER:
        assert told[version] == told[NEWEST]


def test_offline_and_unreachable_are_told_in_the_same_words(
    filled_hub: Hub, tmp_path: Path
) -> None:
    code = OUTCOME + "result = outcome('org/tiny')"
    offline, away = {}, {}
    for version in CLIENTS:
        offline[version] = run_in(version, tmp_path / version, code, {"HF_HUB_OFFLINE": "1"})
        away[version] = run_in(
            version, tmp_path / version, code, {"HF_ENDPOINT": "http://127.0.0.1:9"}
        )

    assert offline[NEWEST][::3] == ["OfflineError", 5]
    assert "HF_HUB_OFFLINE" in offline[NEWEST][2]
    assert away[NEWEST] == [
        "UpstreamError",
        "cannot reach 127.0.0.1:9: connection refused",
        "check the network or HF_ENDPOINT; what the keep has works without: modelkeep ls",
        5,
    ]
    for version in OLDER:
        assert offline[version] == offline[NEWEST]
        assert away[version] == away[NEWEST]


def test_kernels_come_with_clients_that_know_them(filled_hub: Hub, tmp_path: Path) -> None:
    kernel = filled_hub.repo("org/fast", "kernel")
    kernel.commit({"build/a.py": b"pass\n", "build/k.bin": b"k" * 100})
    code = OUTCOME + "result = outcome('kernels/org/fast')"
    load = """
from huggingface_hub import hf_hub_download
result = hf_hub_download("org/fast", "build/k.bin", repo_type="kernel")
"""
    for version in CLIENTS:
        keep = tmp_path / version
        answer = run_in(version, keep, code)
        if version < "1":
            assert (answer[0], answer[3]) == ("UsageError", 2)
            assert "huggingface_hub" in answer[1]
            continue
        assert answer == "ok"
        path = run_client(version, load, {"HF_HUB_CACHE": str(keep / "hub"), "HF_HUB_OFFLINE": "1"})
        assert path == str(keep / f"hub/kernels--org--fast/snapshots/{kernel.sha}/build/k.bin")
