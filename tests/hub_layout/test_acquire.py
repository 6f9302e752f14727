"""Pull takes each file the way that suits it, and counts what is there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.errors import NoSpaceError
from modelkeep.keep import Keep
from tests import forks
from tests.filesystems import loop
from tests.hub import Hub
from tests.models import random_bytes

WEIGHTS = random_bytes(3_000_000, seed=1)


@pytest.mark.real
def test_xet_is_used_when_asked_for(hub: Hub, keep_dir: Path) -> None:
    hub.xet = True
    hub.repo("org/x").commit({"config.json": b"{}", "model.safetensors": WEIGHTS})

    pulled = Keep.create(keep_dir).pull("org/x", xet="always")

    assert pulled.bytes_fetched == pulled.bytes_stored == len(WEIGHTS) + 2
    assert (pulled.snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.matching("*/xet-read-token/*")
    assert not hub.gets("model.safetensors")


@pytest.mark.real
def test_a_mirror_that_announces_xet_without_serving_it_is_read_in_ranges(
    hub: Hub, keep_dir: Path
) -> None:
    hub.xet = True
    hub.xet_tokens = False
    hub.repo("org/x").commit({"model.safetensors": WEIGHTS})
    keep = Keep.create(keep_dir)

    pulled = keep.pull("org/x", xet="always")

    assert (pulled.snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.gets("model.safetensors")


def test_ranges_are_the_rule_for_xet_files_too(hub: Hub, keep_dir: Path) -> None:
    hub.xet = True
    hub.repo("org/x").commit({"model.safetensors": WEIGHTS})

    Keep.create(keep_dir).pull("org/x")

    assert not hub.matching("*/xet-read-token/*")


@pytest.mark.real
def test_a_download_that_is_nearly_done_needs_no_second_room(hub: Hub, tmp_path: Path) -> None:
    size = 24 << 20
    hub.repo("org/large").commit({"model.safetensors": random_bytes(size, seed=2)})
    with loop(tmp_path, "ext4", 48) as disk:
        keep = Keep.create(disk / "keep")
        assert forks.start(lambda: keep.pull("org/large"), sync="kill:fetch:verified").killed()
        (disk / "filler").write_bytes(bytes(12 << 20))

        pulled = keep.pull("org/large")

        assert pulled.bytes_stored == size
        (disk / "filler").unlink()
        (disk / "filler").write_bytes(bytes(8 << 20))
        hub.repo("org/more").commit({"model.safetensors": random_bytes(size, seed=3)})
        with pytest.raises(NoSpaceError, match="pulling `org/more` needs"):
            keep.pull("org/more")
