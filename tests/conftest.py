"""Fixtures for every test: a Hub of its own, a folder for a keep, and no way to the real home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forks
from tests.hub import Hub, Repository
from tests.later import Later, stopped_clock
from tests.models import TINY, tiny_bert

_FOREIGN = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "MODELKEEP_", "TRANSFORMERS_", "XDG_")
_OURS = ("MODELKEEP_TEST_",)


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home, caches and settings of the test and its children lie in a fresh folder: its path."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) and not name.startswith(_OURS):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    for variable, folder in {
        "HOME": home,
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local/share",
        "XDG_STATE_HOME": home / ".local/state",
        "XDG_RUNTIME_DIR": home / ".run",
        "HF_HOME": home / ".cache/huggingface",
    }.items():
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(variable, str(folder))
    # nothing outside answers: a test that forgets its hub fails at once and leaves no trace
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_UPDATE_CHECK", "1")
    return home


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    """A test that fails while a child of its own is stopped would else wait for it for ever."""
    yield
    forks.abandon_all()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A fresh stand-in Hub, which HF_ENDPOINT of the test and its children names."""
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def tiny_repo(hub: Hub) -> Repository:
    """The model `org/tiny`: a config, 300 kB of weights in LFS, a file two directories down."""
    repo = hub.repo("org/tiny")
    repo.commit(TINY)
    return repo


@pytest.fixture
def keep_dir(tmp_path: Path) -> Path:
    """Where a keep can be made; does not exist yet."""
    return tmp_path / "keep"


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Later:
    """Call it with a number of days, and for collections they have passed."""
    return stopped_clock(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def tiny_bert_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real model with its tokenizer, in one weights file. Read only."""
    return tiny_bert(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="session")
def sharded_bert_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with its weights in shards and an index. Read only."""
    return tiny_bert(tmp_path_factory.mktemp("sharded-bert"), sharded=True)
