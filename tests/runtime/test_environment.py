"""Which variables let loaders use a keep, and which stay as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelkeep.keep import Keep
from modelkeep.runtime.environment import Environment, is_shared, variables
from modelkeep.runtime.offline import Decision
from tests.runtime.conftest import Modelkeep

KEEP = "/srv/a keep"
ONLINE = Decision(False, "it answers")
OFFLINE = Decision(True, "it does not")
HOME = {"HOME": "/home/ada"}


def plan(
    environ: dict[str, str], offline: Decision = ONLINE, *, shared: bool = False
) -> Environment:
    return variables(KEEP, offline=offline, environ=HOME | environ, shared=lambda _folder: shared)


def test_only_the_hub_cache_is_shared() -> None:
    assert plan({}).set == {
        "HF_HUB_CACHE": "/srv/a keep/hub",
        "HF_HUB_DISABLE_SHARED_BLOBS": "1",
    }


def test_offline_is_said_to_the_client() -> None:
    assert plan({}, OFFLINE).set["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in plan({}).set


def test_every_change_has_a_reason() -> None:
    found = plan({"HF_HOME": "", "TRANSFORMERS_CACHE": "/old", "HF_HUB_CACHE": "/mine"}, OFFLINE)
    assert set(found.reasons) == {*found.set, *found.unset}
    assert "/mine" in found.reasons["HF_HUB_CACHE"]
    assert found.reasons["HF_HUB_OFFLINE"] == OFFLINE.reason


@pytest.mark.parametrize(
    "name", ["HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HF_DATASETS_CACHE", "XDG_CACHE_HOME"]
)
def test_a_variable_set_to_nothing_is_unset(name: str) -> None:
    assert plan({name: ""}).unset == (name,)


def test_what_is_not_of_the_loaders_may_be_empty() -> None:
    assert plan({"EDITOR": "", "PYTHONPATH": ""}).unset == ()


@pytest.mark.parametrize(
    "name", ["HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "SENTENCE_TRANSFORMERS_HOME"]
)
def test_a_cache_that_would_win_over_the_keep_is_unset(name: str) -> None:
    assert plan({name: "/elsewhere"}).unset == (name,)


def test_the_dead_variable_is_warned_of() -> None:
    (warning,) = plan({"TRANSFORMERS_CACHE": "/old"}).warnings
    assert "TRANSFORMERS_CACHE" in warning


def test_a_variable_is_never_both_set_and_unset() -> None:
    found = plan({"HF_HUB_CACHE": "", "HF_HUB_OFFLINE": ""}, OFFLINE)
    assert found.set["HF_HUB_CACHE"] == "/srv/a keep/hub"
    assert found.unset == ()


def test_a_private_home_stays_as_it_is() -> None:
    found = plan({"HF_HOME": "/home/ada/hf", "HF_TOKEN_PATH": "/home/ada/token"})
    assert set(found.set) == {"HF_HUB_CACHE", "HF_HUB_DISABLE_SHARED_BLOBS"}
    assert found.warnings == ()


@pytest.mark.parametrize("home", [KEEP, f"{KEEP}/hf"])
def test_a_home_in_the_keep_keeps_nothing_private_there(home: str) -> None:
    found = plan({"HF_HOME": home})
    private = {name: value for name, value in found.set.items() if value.startswith("/home/ada")}
    assert private == {
        "HF_TOKEN_PATH": "/home/ada/.cache/huggingface/token",
        "HF_XET_CACHE": "/home/ada/.cache/huggingface/xet",
        "HF_ASSETS_CACHE": "/home/ada/.cache/huggingface/assets",
        "HF_DATASETS_CACHE": "/home/ada/.cache/huggingface/datasets",
        "HF_MODULES_CACHE": "/home/ada/.cache/huggingface/modules",
        "HF_EVALUATE_CACHE": "/home/ada/.cache/huggingface/evaluate",
        "HF_METRICS_CACHE": "/home/ada/.cache/huggingface/metrics",
    }
    assert "HF_HOME" in found.warnings[0]


def test_a_home_that_others_write_in_is_warned_of() -> None:
    found = plan({"HF_HOME": "/srv/hf"}, shared=True)
    assert "HF_HOME=/srv/hf" in found.warnings[0]
    assert found.set["HF_XET_CACHE"] == "/home/ada/.cache/huggingface/xet"


def test_somebody_logged_in_stays_logged_in(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_mine")
    found = plan({"HF_HOME": str(tmp_path)}, shared=True)
    assert "HF_TOKEN_PATH" not in found.set
    assert "HF_XET_CACHE" in found.set


def test_a_place_that_somebody_chose_is_respected() -> None:
    found = plan({"HF_HOME": "/srv/hf", "HF_DATASETS_CACHE": "/scratch/data"}, shared=True)
    assert "HF_DATASETS_CACHE" not in found.set


def test_compiled_code_leaves_the_keep() -> None:
    found = plan({"TRITON_CACHE_DIR": f"{KEEP}/triton", "TORCHINDUCTOR_CACHE_DIR": "/tmp/ada"})
    assert found.set["TRITON_CACHE_DIR"] == "/home/ada/.cache/huggingface/triton"
    assert "TORCHINDUCTOR_CACHE_DIR" not in found.set


def test_two_variables_that_disagree_are_warned_of() -> None:
    found = plan({"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"})
    assert "TRANSFORMERS_OFFLINE" in found.warnings[0]


def test_going_online_takes_the_variables_back() -> None:
    assert plan({"HF_HUB_OFFLINE": "1"}).unset == ("HF_HUB_OFFLINE",)
    assert plan({"TRANSFORMERS_OFFLINE": "1"}).set["HF_HUB_OFFLINE"] == "0"


def test_the_upstream_of_the_keep_is_the_endpoint() -> None:
    found = variables(KEEP, offline=ONLINE, environ=HOME, upstream="http://hub.example")
    assert found.set["HF_ENDPOINT"] == "http://hub.example"


def test_a_folder_is_shared_if_others_write_in_it(tmp_path: Path) -> None:
    assert not is_shared(str(tmp_path / "missing"))
    tmp_path.chmod(0o755)
    assert not is_shared(str(tmp_path))
    tmp_path.chmod(0o2775)
    assert is_shared(str(tmp_path))


def test_the_document_of_env(keep: Keep, modelkeep: Modelkeep) -> None:
    done = modelkeep("env", "--format", "json", env={"TRANSFORMERS_CACHE": "/old"})
    document = json.loads(done.stdout)
    assert document.pop("warnings")
    assert document == {
        "schema": 1,
        "set": {
            "HF_HUB_CACHE": str(keep.directory / "hub"),
            "HF_HUB_DISABLE_SHARED_BLOBS": "1",
        },
        "unset": ["TRANSFORMERS_CACHE"],
        "offline": {"value": False, "reason": "nothing is known against it"},
    }


def test_env_warns_on_stderr_alone(keep: Keep, modelkeep: Modelkeep) -> None:
    done = modelkeep("env", env={"TRANSFORMERS_CACHE": "/old"})
    assert "warning: TRANSFORMERS_CACHE" in done.stderr
    assert "warning" not in done.stdout
    assert done.returncode == 0


def test_env_without_a_keep_says_how_to_start_one(modelkeep: Modelkeep) -> None:
    done = modelkeep("env")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "modelkeep init" in done.stderr


def test_env_of_a_keep_of_another_format_is_refused(keep: Keep, modelkeep: Modelkeep) -> None:
    header = keep.directory / "store" / "STORE.json"
    header.write_text(header.read_text().replace('"format": 1,', '"format": 10,'))
    assert modelkeep("env").returncode == 2


def test_env_reads_keep_toml(keep: Keep, modelkeep: Modelkeep) -> None:
    with (keep.directory / "keep.toml").open("a") as file:
        file.write('upstream = "http://hub.example"\n')
    assert "export HF_ENDPOINT=http://hub.example\n" in modelkeep("env").stdout


def test_a_keep_that_was_named_is_the_one_of_the_shell(keep: Keep, modelkeep: Modelkeep) -> None:
    done = modelkeep("env", "--keep", keep.directory, without=["MODELKEEP_HOME"])
    assert f"export MODELKEEP_HOME={keep.directory}\n" in done.stdout


def test_plain_calls_and_parsed_ones_answer_alike(keep: Keep, modelkeep: Modelkeep) -> None:
    plain = modelkeep("env", "--for", "fish", "--offline")
    parsed = modelkeep("env", "--for", "fish", "--offline", "--format", "human")
    assert plain.stdout == parsed.stdout != ""


def test_env_does_not_import_the_client(keep: Keep) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.argv = ['modelkeep', 'env']; from modelkeep.cli import main; main();"
        "print([m for m in ('huggingface_hub', 'rich', 'click', 'urllib3', 'asyncio', 'tomllib')"
        " if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stderr.strip() == "[]"
