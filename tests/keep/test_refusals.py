"""What a pull cannot do, it says in one line and changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelkeep.errors import (
    GatedError,
    InvalidRepoError,
    NoSpaceError,
    NotFoundError,
    ReadOnlyError,
    UpstreamError,
    UsageError,
)
from modelkeep.keep import Keep
from tests.filesystems import as_user, need_root, public_directory, tmpfs
from tests.hub import Hub, Repository
from tests.models import TINY, random_bytes

MIB = 1 << 20


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
