"""Whether what a keep notes about its users can be read, and what stands in its hub."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from modelkeep.keep import Keep
from modelkeep.runtime.doctor import Status
from modelkeep.store.digest import hash_bytes
from modelkeep.store.leases import Kind
from tests.filesystems import as_user, public_directory
from tests.hub_layout.test_survey import write
from tests.runtime.doctor.conftest import found, is_ok


def test_a_lease_that_cannot_be_read_is_named(keep: Keep) -> None:
    keep.store.leases.take("org/a", [hash_bytes(b"x", "sha256")], kind=Kind.PIN, lifetime_s=None)
    assert found(keep, "keep.leases").evidence == "1 lease, all of them readable"
    bad = keep.store.layout.leases / "bad.json"
    bad.write_text("{")
    finding = found(keep, "keep.leases")
    assert finding.status is Status.FAIL
    assert f"rm -r {bad}" in str(finding.fix)


def test_a_root_that_cannot_be_read_is_named(keep: Keep, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    root = keep.store.roots.register(tmp_path / "cache")
    assert found(keep, "keep.roots").evidence == "2 roots, all of them readable"
    (keep.store.layout.roots / root.id / "root.json").write_text("{")
    finding = found(keep, "keep.roots")
    assert finding.status is Status.FAIL
    assert root.id in finding.evidence


def test_a_cache_that_is_gone_is_named(keep: Keep, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    keep.store.roots.register(tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    finding = found(keep, "keep.roots")
    assert finding.status is Status.WARN
    assert finding.evidence == f"1 cache that used the store is gone: {tmp_path / 'cache'}"


@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
def test_a_cache_in_a_closed_home_may_still_be_there() -> None:
    with public_directory() as public:
        keep = Keep.create(public / "keep")
        keep.directory.chmod(0o755)
        cache = public / "home/cache"
        cache.mkdir(parents=True)
        keep.store.roots.register(cache)
        cache.parent.chmod(0o700)
        found(keep, "keep.roots")  # imports what the other user may not read
        finding = as_user(4242, lambda: found(keep, "keep.roots"))
    assert finding.status is Status.OK


def test_strangers_in_the_hub_are_named(keep: Keep) -> None:
    for known in (".locks", "models--org--a"):
        (keep.hub.directory / known).mkdir()
    (keep.hub.directory / "CACHEDIR.TAG").touch()
    assert is_ok(keep, "keep.strangers")
    (keep.hub.directory / "thesis.tex").touch()
    finding = found(keep, "keep.strangers")
    assert finding.status is Status.WARN
    assert finding.evidence.endswith("thesis.tex")


def test_what_stock_clients_brought_waits_for_settling(keep: Keep) -> None:
    write(keep.hub.directory, "model", b"w" * 2_000_000)
    finding = found(keep, "keep.unsettled")
    assert finding.status is Status.WARN
    assert finding.evidence.startswith("2.0 MB in 1 repo")
    assert str(finding.fix).startswith("modelkeep settle")
