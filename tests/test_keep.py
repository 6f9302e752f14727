"""The facade: keeps are made and found, what is pulled is fetched once and right."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

import modelkeep
from modelkeep.errors import (
    CorruptError,
    GatedError,
    InvalidRepoError,
    NoSpaceError,
    NotFoundError,
    ReadOnlyError,
    SettingsError,
    UnknownFormatError,
    UpstreamError,
    UsageError,
)
from modelkeep.keep import Keep
from tests import forks
from tests.filesystems import as_user, need_root, public_directory, tmpfs
from tests.hub import FlipBit, Hub, Repository, Status
from tests.keeping import held_by, loaded
from tests.models import TINY, random_bytes

MIB = 1 << 20


@pytest.fixture
def keep(keep_dir: Path) -> Keep:
    return Keep.create(keep_dir)


# Which keep


def test_the_first_use_makes_a_private_keep_in_the_default_place(isolated: Path) -> None:
    keep = modelkeep.open()
    assert keep.directory == isolated / ".cache" / "modelkeep"
    assert (keep.store.mode, keep.read_only) == ("private", False)
    assert {path.name for path in keep.directory.iterdir()} == {"keep.toml", "hub", "store"}
    assert list(keep.hub.directory.iterdir()) == []


def test_the_given_place_wins_over_the_variable_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELKEEP_HOME", str(tmp_path / "variable"))
    assert modelkeep.open().directory == tmp_path / "variable"
    assert modelkeep.open(tmp_path / "given").directory == tmp_path / "given"


def test_a_missing_keep_is_said_and_not_made(keep_dir: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        Keep.open(keep_dir)
    assert caught.value.hint is not None
    assert "modelkeep init" in caught.value.hint
    assert not keep_dir.exists()


def test_a_place_that_holds_something_else_is_refused(keep_dir: Path) -> None:
    keep_dir.mkdir()
    (keep_dir / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="thesis"):
        Keep.create(keep_dir)
    assert [path.name for path in keep_dir.iterdir()] == ["thesis.tex"]


def test_a_keep_whose_making_was_killed_is_made_by_the_same_call(tmp_path: Path) -> None:
    def make(name: str = "steps") -> str:
        return Keep.create(tmp_path / name).store.id

    for number, step in enumerate(forks.steps(make, tmp_path / "log")):
        name = f"keep{number}"
        assert forks.start(partial(make, name), sync=f"kill:{step}").killed(), step
        make(name)
        assert Keep.open(tmp_path / name).verify().ok


def test_first_pulls_at_the_same_time_make_one_keep(tmp_path: Path) -> None:
    ids = forks.together([lambda: modelkeep.open(tmp_path / "keep").store.id] * 6)
    assert len(set(ids)) == 1


def test_a_group_keep_is_open_to_its_group_and_nobody_else(keep_dir: Path) -> None:
    old = os.umask(0o077)
    try:
        keep = Keep.create(keep_dir, mode="group")
    finally:
        os.umask(old)
    assert stat.S_IMODE(keep_dir.stat().st_mode) == 0o2770
    for folder in (keep.hub.directory, keep.store.layout.tmp, keep.store.layout.blobs / "sha256"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2775
    with pytest.raises(SettingsError):
        Keep.create(keep_dir, mode="private")


def test_a_newer_format_is_refused_and_nothing_changed(keep: Keep) -> None:
    header = keep.store.layout.header
    header.write_text(header.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(UnknownFormatError):
        Keep.open_or_create(keep.directory)


# What goes wrong, in words


@pytest.mark.parametrize("name", ["org/../x", "../../etc", "org/name\n", "", "a/b/c"])
def test_no_name_leads_out_of_the_keep(keep: Keep, hub: Hub, name: str) -> None:
    for verb in (keep.pull, keep.show, keep.where, keep.plan_removal):
        with pytest.raises(InvalidRepoError):
            verb(name)
    assert not hub.requests


def test_unknown_repo_revision_and_pattern_are_told_apart(
    keep: Keep, tiny_repo: Repository
) -> None:
    with pytest.raises(NotFoundError, match="org/nothing"):
        keep.pull("org/nothing")
    with pytest.raises(NotFoundError, match="v9"):
        keep.pull("org/tiny@v9")
    with pytest.raises(NotFoundError, match="no file"):
        keep.pull("org/tiny", include=["*.gguf"])
    with pytest.raises(UsageError):
        keep.pull("org/tiny@v1", "v2")
    assert keep.list().repos == ()


def test_gated_needs_a_token_and_private_is_not_betrayed(keep: Keep, hub: Hub) -> None:
    hub.repo("org/gated", gated=True).commit(TINY)
    hub.repo("org/private", private=True).commit(TINY)
    hub.token("good", grants=["org/gated", "org/private"])

    with pytest.raises(GatedError):
        keep.pull("org/gated")
    with pytest.raises(NotFoundError):
        keep.pull("org/private")
    assert keep.pull("org/gated", token="good").files == len(TINY)
    assert keep.pull("org/private", token="good").files == len(TINY)
    assert not [r for r in hub.requests if r.origin == "cdn" and r.authorized]


def test_no_network_is_one_line(keep: Keep, hub: Hub, tiny_repo: Repository) -> None:
    hub.down()
    with pytest.raises(UpstreamError) as caught:
        keep.pull("org/tiny")
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


class Nonsense(BaseHTTPRequestHandler):
    """What a login page, or a hostile mirror, answers to everything."""

    answer = b"<html>please log in</html>"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Be quiet."""


@pytest.fixture
def nonsense(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Nonsense]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield Nonsense
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>please log in</html>",
        b"[]",
        b"{}",
        b'{"id": "org/x", "sha": "../../../../../../tmp/evil", "siblings": []}',
        b'{"id": "org/x", "sha": null, "siblings": []}',
    ],
)
def test_an_endpoint_that_is_no_hub_is_one_line_too(
    keep: Keep, nonsense: type[Nonsense], monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(nonsense, "answer", answer)
    with pytest.raises(UpstreamError) as caught:
        keep.pull("org/x")
    assert str(caught.value).isprintable()
    assert list(keep.hub.directory.iterdir()) == []


@pytest.mark.parametrize("path", ["../../../x", "/tmp/x", "a/../../x", "a\nb", "..", "a\\b"])
def test_a_listing_that_leaves_the_snapshot_is_refused(keep: Keep, hub: Hub, path: str) -> None:
    hub.repo("org/evil").commit({"config.json": b"{}", path: b"x"})

    with pytest.raises(UpstreamError, match="would leave the snapshot"):
        keep.pull("org/evil")

    assert list(keep.hub.directory.iterdir()) == []
    assert not hub.matching("*/resolve/*")


def test_no_room_is_said_before_the_first_byte(hub: Hub, tmp_path: Path) -> None:
    repo = hub.repo("org/large")
    repo.commit({"config.json": b"{}", "model.bin": random_bytes(20 * MIB)})
    with tmpfs(tmp_path, 16) as disk:
        keep = Keep.create(disk / "keep")
        with pytest.raises(NoSpaceError) as caught:
            keep.pull(repo.id)
        assert caught.value.exit_code == 6
        assert not hub.matching("*/resolve/*")


def test_a_keep_one_may_only_read_says_so_and_serves() -> None:
    need_root()
    with public_directory() as top, Hub() as hub:
        os.environ["HF_ENDPOINT"] = hub.endpoint
        hub.repo("org/tiny").commit(TINY)
        keep = Keep.create(top / "keep")
        keep.pull("org/tiny")

        def use() -> list[object]:
            mine = Keep.open(top / "keep")
            kinds = []
            for verb in (
                lambda: mine.pull("org/tiny"),
                lambda: mine.remove(mine.plan_removal("org/tiny")),
                lambda: mine.link("org/tiny", into=top / "theirs"),
            ):
                try:
                    verb()
                except Exception as error:
                    kinds.append(type(error))
            return [mine.read_only, kinds, mine.verify(jobs=1).ok, len(mine.list().repos)]

        read_only, kinds, intact, repos = as_user(12345, use)

    assert (read_only, intact, repos) == (True, True, 1)
    assert kinds == [ReadOnlyError, ReadOnlyError]


# Nothing twice


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


# Nothing unverified


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
