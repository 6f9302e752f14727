"""Plain answers are taken without the Hub's client, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from modelkeep.errors import NotFoundError
from modelkeep.hub.api import Api
from modelkeep.hub.repo import Repo, RepoType
from modelkeep.hub.upstream import Upstream
from tests.hub import Fault, Headers, Hub, Status
from tests.hub.faults import Course
from tests.hub.messages import Request, Response

REPO = Repo(RepoType.MODEL, "org/model")
TOKEN = "hf_secret"
FILES = {"config.json": b"{}", "a b/weights.safetensors": b"w" * 4096, "a b/c/d.txt": b"d"}


@pytest.fixture
def commit(hub: Hub) -> str:
    return hub.repo(REPO.id).commit(FILES)


@pytest.fixture
def api(hub: Hub) -> Iterator[Api]:
    with closing(Api(hub.endpoint, hub.token(TOKEN))) as api:
        yield api


def test_the_client_is_not_imported_for_plain_answers(hub: Hub, commit: str) -> None:
    code = f"""
import sys
from modelkeep.hub.repo import Repo, RepoType
from modelkeep.hub.upstream import Upstream, select
upstream = Upstream({hub.endpoint!r})
repo = Repo(RepoType.MODEL, {REPO.id!r})
assert upstream.commit(repo, "main") == {commit!r}
assert len(select(upstream.tree(repo, {commit!r}), (), ())) == {len(FILES)}
assert upstream.token is None
loaded = {{"huggingface_hub.hf_api", "huggingface_hub.errors"}} & sys.modules.keys()
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("xet", [False, True])
@pytest.mark.parametrize("page_size", [1, 1000])
def test_the_client_says_the_same(
    hub: Hub, api: Api, commit: str, page_size: int, xet: bool
) -> None:
    hub.page_size, hub.xet = page_size, xet
    files = api.tree(REPO, commit)
    assert {file.path for file in files or ()} == set(FILES)
    assert api.commit(REPO, "main") == commit
    hub.fault("/api/*", Status(500))  # so that the client is asked
    assert Upstream(hub.endpoint).tree(REPO, commit) == files


def test_a_branch_with_a_slash_is_one_revision(hub: Hub, api: Api) -> None:
    commit = hub.repo(REPO.id).commit(FILES, branch="refs/pr/1")
    assert api.commit(REPO, "refs/pr/1") == commit


def test_a_refusal_is_left_to_the_client(hub: Hub, api: Api) -> None:
    assert api.commit(REPO, "main") is None
    with pytest.raises(NotFoundError, match="there is no model"):
        Upstream(hub.endpoint, token=TOKEN).commit(REPO, "main")


def test_a_repo_that_moved_is_left_to_the_client(hub: Hub, api: Api) -> None:
    repo = hub.repo("org/old")
    commit = repo.commit(FILES)
    hub.move(repo, REPO.id)
    old = Repo(RepoType.MODEL, "org/old")
    assert api.commit(old, "main") is None
    assert Upstream(hub.endpoint).commit(old, "main") == commit


@pytest.mark.parametrize(
    "body", [b"<html>log in first</html>", b"{}", b'{"sha": "main"}', b'[{"type": "file"}]']
)
def test_what_is_no_answer_of_a_hub_is_left_to_the_client(
    hub: Hub, api: Api, commit: str, body: bytes
) -> None:
    hub.fault("/api/*", _Says(body), times=None)
    assert api.commit(REPO, "main") is None
    assert api.tree(REPO, commit) is None


def test_the_token_goes_to_no_other_server(hub: Hub, api: Api, commit: str) -> None:
    elsewhere = Headers(set={"Link": f'<{hub.cdn}/next>; rel="next"'})
    hub.fault("/api/*", elsewhere)
    assert api.tree(REPO, commit) is None
    assert [request.authorized for request in hub.requests] == [True]
    assert not hub.matching("*", origin="cdn")


def test_a_login_that_only_the_client_knows_is_found(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Upstream(hub.endpoint).token is None
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", TOKEN)
    assert Upstream(hub.endpoint).token == TOKEN


@dataclass(frozen=True)
class _Says(Fault):
    """Something else under 200."""

    body: bytes

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        return Response(200, {"Content-Type": "application/json"}, self.body)
