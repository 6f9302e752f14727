"""Stock datasets reads data files from a keep, and works offline once it has prepared them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.clients import run_client
from tests.real.site import NEWEST, Site

pytestmark = pytest.mark.real

MAKE_PARQUET = """
import io, pyarrow, pyarrow.parquet
buffer = io.BytesIO()
pyarrow.parquet.write_table(pyarrow.table({"n": [1, 2, 3]}), buffer)
result = buffer.getvalue().hex()
"""

LOAD = """
from datasets import load_dataset
result = [load_dataset(name, split="train").to_list() for name in ("org/csv", "org/parquet")]
"""


def test_no_data_is_fetched_again_and_prepared_data_sets_load_offline(
    own_site: Site, tmp_path: Path
) -> None:
    site = own_site
    table = bytes.fromhex(run_client(NEWEST, MAKE_PARQUET))
    site.hub.repo("org/csv", "dataset").commit(
        {"train.csv": b"a,b\n1,x\n2,y\n", "README.md": b"# csv\n"}
    )
    site.hub.repo("org/parquet", "dataset").commit({"data/train.parquet": table})
    for name in ("datasets/org/csv", "datasets/org/parquet"):
        site.keep.pull(name)
    prepared = {"HF_DATASETS_CACHE": str(tmp_path / "prepared")}
    rows = [[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], [{"n": 1}, {"n": 2}, {"n": 3}]]

    site.hub.clear_log()
    assert run_client(NEWEST, LOAD, site.env() | prepared) == rows
    assert site.hub.requests
    assert site.fetched() == []

    site.hub.clear_log()
    assert run_client(NEWEST, LOAD, site.env(offline=True) | prepared) == rows
    assert site.hub.requests == []

    assert site.keep.pull("datasets/org/csv").bytes_fetched == 0
    assert all(repo.bytes_unsettled == 0 for repo in site.keep.list().repos)
