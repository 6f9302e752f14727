"""What is pulled is fetched once, and is what upstream says it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from modelkeep.errors import (
    CorruptError,
)
from modelkeep.keep import Keep
from tests.hub import FlipBit, Hub, Repository, Status
from tests.keeping import held_by, loaded
from tests.models import TINY, random_bytes

MIB = 1 << 20


def test_the_same_weights_in_two_repos_are_fetched_and_stored_once(keep: Keep, hub: Hub) -> None:
    weights = random_bytes(3 * MIB)
    for name in ("one", "two"):
        hub.repo(f"org/{name}").commit({"config.json": name.encode(), "model.bin": weights})
    first = keep.pull("org/one")
    hub.clear_log()

    second = keep.pull("org/two")

    assert (first.bytes_fetched, first.bytes_stored) == (len(weights) + 3,) * 2
    assert (second.bytes_fetched, second.bytes_stored, second.bytes_linked) == (
        3,
        3,
        len(weights),
    )
    assert not hub.matching("*model.bin*")
    assert keep.store.info(held_by(keep, "org/two").files[1].digest).links == 3  # type: ignore[union-attr]


def test_a_second_revision_stores_what_changed(keep: Keep, hub: Hub, tiny_repo: Repository) -> None:
    keep.pull("org/tiny")
    tiny_repo.commit({"config.json": b"{}"}, update=True)
    hub.clear_log()

    pulled = keep.pull("org/tiny")

    assert (pulled.bytes_fetched, pulled.bytes_stored) == (2, 2)
    assert [r.path.rpartition("/")[2] for r in hub.gets("*/resolve/*")] == ["config.json"]
    assert loaded(keep, "org/tiny") == {**TINY, "config.json": b"{}"}


def test_a_complete_commit_is_not_asked_for_again(
    keep: Keep, hub: Hub, tiny_repo: Repository
) -> None:
    keep.pull("org/tiny")
    hub.down()
    assert keep.pull("org/tiny", tiny_repo.sha).bytes_fetched == 0


def test_what_a_stock_client_left_in_the_hub_is_taken_over(
    keep: Keep, hub: Hub, tiny_repo: Repository
) -> None:
    tiny_repo.commit({"large.bin": random_bytes(2 * MIB)}, update=True)
    snapshot_download("org/tiny", cache_dir=keep.hub.directory, endpoint=hub.endpoint)
    hub.clear_log()

    pulled = keep.pull("org/tiny")

    assert pulled.bytes_fetched == 0
    assert not hub.matching("*/resolve/*")
    assert keep.verify().files == 4 + 3  # the small ones are copies
    small = held_by(keep, "org/tiny").files[0]
    assert keep.store.info(small.digest).links == 1  # type: ignore[union-attr]
    assert not scan_cache_dir(keep.hub.directory).warnings


def test_a_damaged_file_of_a_stock_client_is_fetched_again(
    keep: Keep, hub: Hub, tiny_repo: Repository
) -> None:
    top = snapshot_download("org/tiny", cache_dir=keep.hub.directory, endpoint=hub.endpoint)
    (Path(top) / "model.safetensors").resolve().write_bytes(bytes(300_000))

    pulled = keep.pull("org/tiny")

    assert pulled.bytes_fetched == 300_000
    assert loaded(keep, "org/tiny") == TINY


def test_empty_files_odd_names_and_equal_files_arrive(keep: Keep, hub: Hub) -> None:
    files = {
        "empty.txt": b"",
        "empty.bin": b"",
        "ünï cödé %20.json": b"{}",
        "a#b?c=d&e.txt": b"x",
        "same/1.bin": b"same",
        "same/2.bin": b"same",
        "-rf": b"dash",
    }
    hub.repo("org/odd").commit(files)

    keep.pull("org/odd")

    assert loaded(keep, "org/odd") == files
    assert keep.verify().ok


@pytest.mark.parametrize("kind", ["model", "dataset", "space", "kernel"])
def test_all_kinds_are_kept_apart(keep: Keep, hub: Hub, kind: str) -> None:
    hub.repo("org/x", kind).commit(TINY)
    pulled = keep.pull("org/x", type=kind)
    assert pulled.snapshot.parts[-3] == f"{kind}s--org--x"
    assert loaded(keep, f"{kind}s/org/x") == TINY


def test_tags_branches_and_pull_requests_are_refs(
    keep: Keep, hub: Hub, tiny_repo: Repository
) -> None:
    tiny_repo.tag("v1.0")
    tiny_repo.commit({"config.json": b"pr"}, branch="refs/pr/1", update=True)
    keep.pull("org/tiny@v1.0")
    keep.pull("org/tiny@refs/pr/1")
    (repo,) = keep.list().repos
    assert set(repo.refs) == {"v1.0", "refs/pr/1"}
    assert loaded(keep, "org/tiny", "refs/pr/1")["config.json"] == b"pr"


def test_an_edited_small_file_is_set_right_by_the_next_pull(
    keep: Keep, hub: Hub, tiny_repo: Repository
) -> None:
    pulled = keep.pull("org/tiny")
    config = pulled.snapshot / "config.json"
    config.resolve().chmod(0o644)
    config.write_bytes(b"edited by hand")
    hub.clear_log()

    keep.pull("org/tiny")

    assert config.read_bytes() == TINY["config.json"]
    assert not hub.matching("*/resolve/*")


def test_bytes_that_went_bad_are_not_linked_any_further(
    keep: Keep, hub: Hub, tiny_repo: Repository, tmp_path: Path
) -> None:
    keep.pull("org/tiny")
    weights = next(f.digest for f in held_by(keep, "org/tiny").files if f.size == 300_000)
    blob = keep.store.path(weights)
    blob.chmod(0o644)
    blob.write_bytes(bytes(300_000))
    assert not keep.verify().ok

    with pytest.raises(CorruptError):
        keep.link("org/tiny", into=tmp_path / "cache")
    with pytest.raises(CorruptError):
        keep.link("org/tiny", to=tmp_path / "plain")


@pytest.mark.parametrize("marked", [True, False])
def test_pulling_any_repo_with_a_damaged_content_heals_it_everywhere(
    keep: Keep, hub: Hub, tmp_path: Path, marked: bool
) -> None:
    weights = bytes(range(256)) * 8000
    for name in ("org/one", "org/other"):
        hub.repo(name).commit({"model.safetensors": weights, "config.json": name.encode()})
    one = keep.pull("org/one").snapshot / "model.safetensors"
    keep.link("org/one", into=tmp_path / "cache")
    blob = one.resolve()
    blob.chmod(0o644)
    blob.write_bytes(weights[::-1])
    blob.chmod(0o444)
    if marked:
        assert not keep.verify().ok

    healing = keep.pull("org/other")

    assert healing.bytes_fetched == healing.bytes_stored == len(weights) + len("org/other")
    assert one.read_bytes() == weights
    assert (healing.snapshot / "model.safetensors").samefile(blob)
    (elsewhere,) = (tmp_path / "cache").rglob("snapshots/*/model.safetensors")
    assert elsewhere.read_bytes() == weights
    assert keep.verify().ok


def test_adding_good_bytes_heals_what_was_added(keep: Keep, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_bytes(b"{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 8000)
    snapshot = keep.add(folder, "me/mine").snapshot
    blob = (snapshot / "model.safetensors").resolve()
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.truncate(1000)

    added = keep.add(folder, "me/mine")

    assert added.bytes_stored == blob.stat().st_size == 256 * 8000
    assert blob.read_bytes() == (folder / "model.safetensors").read_bytes()
    assert keep.verify().ok


def test_a_thousand_flipped_bits_are_a_thousand_refusals(keep: Keep, hub: Hub) -> None:
    count = 1000
    per_repo = 100
    refused = 0
    for number in range(count // per_repo):
        files = {f"{name}.txt": b"%d %d" % (number, name) * 8 for name in range(per_repo)}
        repo = hub.repo(f"org/r{number}")
        repo.commit(files)
        flips = [
            hub.fault(f"*/{name}", FlipBit(seed=seed), times=1) for seed, name in enumerate(files)
        ]

        pulled = keep.pull(repo.id)

        refused += sum(flip.hits for flip in flips)
        assert pulled.bytes_fetched == sum({bytes(d): len(d) for d in files.values()}.values())
        assert loaded(keep, repo.id) == files
        hub.clear_faults()
    assert refused == count
    assert keep.verify().ok


def test_what_stays_damaged_is_named_and_never_seen(
    keep: Keep, hub: Hub, tiny_repo: Repository
) -> None:
    hub.fault("*/model.safetensors", FlipBit(seed=7), times=None)

    with pytest.raises(CorruptError, match=r"model\.safetensors") as caught:
        keep.pull("org/tiny")

    assert caught.value.expected != caught.value.got
    assert caught.value.expected.startswith("sha256:")
    assert not list(keep.hub.directory.rglob("model.safetensors"))
    assert keep.list().repos == ()
    hub.clear_faults()
    keep.pull("org/tiny")
    assert loaded(keep, "org/tiny") == TINY


def test_a_hub_that_is_busy_is_asked_again(keep: Keep, hub: Hub, tiny_repo: Repository) -> None:
    hub.fault("/api/*", Status(503), times=1)
    hub.fault("*config.json", Status(429, retry_after=0), times=2)
    started = time.monotonic()
    assert keep.pull("org/tiny").files == len(TINY)
    assert time.monotonic() - started < 20
