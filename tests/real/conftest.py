"""Fixtures for tests of stock clients: they are slow to start, so a module shares one keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients import CLIENTS, python_of
from tests.real.site import Site, new_site


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """A version of huggingface_hub, once each; skips where it is not installed."""
    version: str = request.param
    python_of(version)
    return version


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An empty keep and its Hub, for all tests of a module."""
    with new_site(tmp_path_factory.mktemp("site") / "keep") as site:
        yield site


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """An empty keep and its Hub, for one test."""
    with new_site(tmp_path / "keep") as site:
        yield site
