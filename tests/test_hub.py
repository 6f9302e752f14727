"""The stand-in Hub keeps the Hub's contract."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.clients import ROOT
from tests.hub import Hub, Repository
from tests.models import TINY, random_file
from tests.wire import fetch

WEIGHTS = TINY["model.safetensors"]
CONFIG = TINY["config.json"]


@pytest.fixture
def link(hub: Hub, tiny_repo: Repository) -> str:
    """A signed link to the weights."""
    answer = fetch(f"{hub.endpoint}/org/tiny/resolve/main/model.safetensors")
    hub.clear_log()
    return answer.headers["Location"]


def test_a_small_file_comes_from_the_hub_under_its_git_id(hub: Hub, tiny_repo: Repository) -> None:
    answer = fetch(f"{hub.endpoint}/org/tiny/resolve/main/config.json")
    blob = b"blob %d\0" % len(CONFIG) + CONFIG
    assert (answer.status, answer.body) == (200, CONFIG)
    assert answer.headers["ETag"] == f'"{hashlib.sha1(blob).hexdigest()}"'
    assert answer.headers["X-Repo-Commit"] == tiny_repo.sha


def test_an_lfs_file_is_redirected_to_the_cdn(hub: Hub, tiny_repo: Repository) -> None:
    answer = fetch(f"{hub.endpoint}/org/tiny/resolve/main/model.safetensors", "HEAD")
    assert answer.status == 302
    assert answer.headers["X-Linked-Etag"] == f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert answer.headers["X-Linked-Size"] == str(len(WEIGHTS))
    assert answer.headers["X-Repo-Commit"] == tiny_repo.sha
    assert answer.headers["Location"].startswith(hub.cdn)
    assert fetch(answer.headers["Location"]).body == WEIGHTS


@pytest.mark.parametrize(
    ("wanted", "status", "content_range", "body"),
    [
        ("bytes=0-9", 206, "bytes 0-9/300000", WEIGHTS[:10]),
        ("bytes=299990-", 206, "bytes 299990-299999/300000", WEIGHTS[-10:]),
        ("bytes=-5", 206, "bytes 299995-299999/300000", WEIGHTS[-5:]),
        ("bytes=299999-400000", 206, "bytes 299999-299999/300000", WEIGHTS[-1:]),
        ("bytes=300000-", 416, "bytes */300000", b""),
        ("bytes=0-1,5-6", 200, None, WEIGHTS),
        ("lines=1-2", 200, None, WEIGHTS),
    ],
)
def test_ranges(
    link: str, wanted: str, status: int, content_range: str | None, body: bytes
) -> None:
    answer = fetch(link, headers={"Range": wanted})
    assert (answer.status, answer.headers["Content-Range"], answer.body) == (
        status,
        content_range,
        body,
    )


def test_a_range_of_another_version_of_the_file_is_all_of_it(link: str) -> None:
    answer = fetch(link, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (answer.status, len(answer.body)) == (200, len(WEIGHTS))


def test_files_on_disk_are_served_with_ranges(hub: Hub, tmp_path: Path) -> None:
    path = random_file(tmp_path / "model.gguf", 9 << 20, seed=3)
    hub.repo("org/disk").commit({"model.gguf": path, "small.txt": path})
    signed = fetch(f"{hub.endpoint}/org/disk/resolve/main/model.gguf").headers["Location"]
    assert fetch(signed).body == path.read_bytes()
    part = fetch(signed, headers={"Range": "bytes=5000000-8999999"})
    assert part.body == path.read_bytes()[5_000_000:9_000_000]
    answer = fetch(f"{hub.endpoint}/org/disk/resolve/main/small.txt")
    assert (answer.status, len(answer.body)) == (200, 9 << 20)


def test_commits_and_trees_have_the_ids_that_git_gives(hub: Hub, tmp_path: Path) -> None:
    files = {"a.txt": b"1", "a/b.txt": b"2", "a.d/c.txt": b"3", "x/y/z": b"4"}
    repo = hub.repo("org/git")
    commit = repo.commits[repo.commit(files)]
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)

    def git(*arguments: str) -> str:
        command = ["git", "-c", "core.autocrlf=false", *arguments]
        return subprocess.check_output(command, cwd=tmp_path, text=True).strip()

    git("init", "-q")
    git("add", *files)
    assert git("write-tree") == commit.directories[""]
    assert hub.repo("org/again").commit(files) == commit.id


def test_trees_are_paged(hub: Hub) -> None:
    repo = hub.repo("org/many")
    repo.commit({f"d{n % 3}/{n:04}.txt": b"x" for n in range(25)})
    hub.page_size = 10
    url: str | None = f"{hub.endpoint}/api/models/org/many/tree/main?recursive=true&expand=false"
    pages = []
    while url:
        answer = fetch(url)
        pages.append(answer.json())
        following = answer.headers["Link"]
        url = following.partition(">")[0].removeprefix("<") if following else None
    assert [len(page) for page in pages] == [10, 10, 8]
    paths = [entry["path"] for page in pages for entry in page]
    assert sorted({*paths}) == sorted([*repo.commits[repo.sha].files, "d0", "d1", "d2"])


def test_a_tree_lists_one_directory_or_everything_below(hub: Hub, tiny_repo: Repository) -> None:
    api = f"{hub.endpoint}/api/models/org/tiny/tree"

    def listed(rest: str) -> list[str]:
        return [entry["path"] for entry in fetch(f"{api}/{rest}").json()]

    assert listed("main") == ["config.json", "model.safetensors", "onnx"]
    assert listed("main/onnx") == ["onnx/deep"]
    assert listed("main/onnx?recursive=true") == ["onnx/deep", "onnx/deep/a.txt"]
    missing = fetch(f"{api}/main/nothing")
    assert (missing.status, missing.headers["X-Error-Code"]) == (404, "EntryNotFound")


def test_lfs_entries_carry_sha256_and_the_pointers_id(hub: Hub, tiny_repo: Repository) -> None:
    entries = fetch(f"{hub.endpoint}/api/models/org/tiny/tree/main").json()
    entry = next(entry for entry in entries if entry["path"] == "model.safetensors")
    assert entry["lfs"]["oid"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert entry["lfs"]["size"] == entry["size"] == len(WEIGHTS)
    assert entry["oid"] == tiny_repo.commits[tiny_repo.sha].files["model.safetensors"].oid
    assert len(entry["oid"]) == 40


def test_an_update_keeps_what_it_does_not_name(hub: Hub, tiny_repo: Repository) -> None:
    first = tiny_repo.sha
    tiny_repo.commit(
        {"new.txt": b"n"}, update=True, delete=["onnx/deep/a.txt"], message="Add\n\nmore"
    )
    tiny_repo.tag("v1", first)
    tiny_repo.branch("stable", "v1")
    tiny_repo.commit({"only.txt": b"o"}, branch="refs/pr/1")
    api = f"{hub.endpoint}/api/models/org/tiny"
    names = {s["rfilename"] for s in fetch(api).json()["siblings"]}
    assert names == {"config.json", "model.safetensors", "new.txt"}
    assert fetch(f"{api}/revision/refs%2Fpr%2F1").json()["siblings"] == [{"rfilename": "only.txt"}]
    assert fetch(f"{api}/revision/stable").json()["sha"] == first
    assert [c["title"] for c in fetch(f"{api}/commits/main").json()] == ["Add", "Upload files"]


STRANGER: dict[str, str] = {}
MEMBER = {"Authorization": "Bearer hf_member"}
OUTSIDER = {"Authorization": "Bearer hf_outsider"}


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/org/nothing/resolve/main/a", STRANGER, 401, "RepoNotFound"),
        ("/org/nothing/resolve/main/a", OUTSIDER, 404, "RepoNotFound"),
        ("/org/secret/resolve/main/a.txt", STRANGER, 401, "RepoNotFound"),
        ("/org/secret/resolve/main/a.txt", OUTSIDER, 404, "RepoNotFound"),
        ("/org/secret/resolve/main/a.txt", MEMBER, 200, None),
        ("/api/models/org/secret", STRANGER, 401, "RepoNotFound"),
        ("/api/models/org/secret/tree/main", MEMBER, 200, None),
        ("/org/gated/resolve/main/a.txt", STRANGER, 401, "GatedRepo"),
        ("/org/gated/resolve/main/a.txt", OUTSIDER, 403, "GatedRepo"),
        ("/org/gated/resolve/main/a.txt", MEMBER, 200, None),
        ("/api/models/org/gated", STRANGER, 200, None),
        ("/org/tiny/resolve/v9/config.json", STRANGER, 404, "RevisionNotFound"),
        ("/org/tiny/resolve/main/nothing", STRANGER, 404, "EntryNotFound"),
        ("/org/tiny/resolve/main/config.json", {"Authorization": "Bearer bad"}, 401, None),
    ],
)
def test_refusals(
    hub: Hub,
    tiny_repo: Repository,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str | None,
) -> None:
    hub.repo("org/secret", private=True).commit({"a.txt": b"a"})
    hub.repo("org/gated", gated=True).commit({"a.txt": b"a"})
    hub.token("hf_member", grants=["org/secret", "org/gated"])
    hub.token("hf_outsider")
    answer = fetch(hub.endpoint + path, headers=headers)
    assert (answer.status, answer.headers["X-Error-Code"]) == (status, code)


@pytest.mark.parametrize("kind", ["dataset", "space", "kernel"])
def test_each_kind_has_its_own_names_and_routes(hub: Hub, tiny_repo: Repository, kind: str) -> None:
    repo = hub.repo("org/tiny", kind)
    repo.commit({"config.json": kind.encode()})
    answer = fetch(f"{hub.endpoint}/{kind}s/org/tiny/resolve/main/config.json")
    assert (answer.body, answer.headers["X-Repo-Commit"]) == (kind.encode(), repo.sha)
    facts = fetch(f"{hub.endpoint}/api/{kind}s/org/tiny").json()
    assert (facts["id"], facts["sha"]) == ("org/tiny", repo.sha)


def test_a_moved_repository_is_found_under_its_old_name(hub: Hub, tiny_repo: Repository) -> None:
    hub.move(tiny_repo, "new-org/tiny")
    answer = fetch(f"{hub.endpoint}/org/tiny/resolve/main/config.json")
    assert answer.status == 307
    assert fetch(hub.endpoint + answer.headers["Location"]).body == CONFIG


def test_small_files_can_go_by_the_cache_route(hub: Hub, tiny_repo: Repository) -> None:
    hub.cache_route = True
    answer = fetch(f"{hub.endpoint}/org/tiny/resolve/main/onnx/deep/a.txt", "HEAD")
    assert (answer.status, answer.headers["X-Repo-Commit"]) == (307, tiny_repo.sha)
    assert fetch(hub.endpoint + answer.headers["Location"]).body == b"a"


def test_one_connection_serves_many_requests(hub: Hub, tiny_repo: Repository) -> None:
    connection = http.client.HTTPConnection(urlsplit(hub.endpoint).netloc)
    for method in ("HEAD", "GET", "GET"):
        connection.request(method, "/org/tiny/resolve/main/config.json")
        connection.getresponse().read()
    connection.close()
    assert len({request.connection for request in hub.requests}) == 1


def test_many_clients_at_once_all_get_every_byte(hub: Hub, tmp_path: Path) -> None:
    path = random_file(tmp_path / "model.safetensors", 8 << 20)
    hub.repo("org/disk").commit({"model.safetensors": path})
    signed = fetch(f"{hub.endpoint}/org/disk/resolve/main/model.safetensors").headers["Location"]
    digests: list[str] = []

    def client() -> None:
        digests.append(hashlib.sha256(fetch(signed).body).hexdigest())

    threads = [threading.Thread(target=client) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest()] * 32
    assert hub.bytes_sent("model.safetensors", origin="cdn") == 32 * (8 << 20)


def test_each_connection_is_paced_evenly(hub: Hub, link: str) -> None:
    hub.rate_limit_per_connection(1_000_000)
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.netloc)
    started = time.monotonic()
    connection.request("GET", f"{parts.path}?{parts.query}")
    response = connection.getresponse()
    arrivals = []
    for _ in range(3):
        assert len(response.read(100_000)) == 100_000
        arrivals.append(time.monotonic() - started)
    connection.close()
    for number, arrival in enumerate(arrivals, start=1):
        assert 0.06 * number < arrival < 0.1 * number + 0.5


def test_the_log_says_what_came_and_what_went(hub: Hub, link: str) -> None:
    headers = {"Range": "bytes=0-99", "User-Agent": "me/1", "Authorization": "Bearer hf_x"}
    fetch(link, headers=headers)
    (request,) = hub.gets("model.safetensors")
    assert (request.origin, request.method, request.status) == ("cdn", "GET", 206)
    assert (request.range, request.user_agent, request.bytes_sent) == ("bytes=0-99", "me/1", 100)
    assert request.authorized
    assert "authorization" not in request.headers
    hub.clear_log()
    assert hub.requests == []


def test_down_refuses_and_up_comes_back_on_the_same_port(hub: Hub, tiny_repo: Repository) -> None:
    url = f"{hub.endpoint}/org/tiny/resolve/main/config.json"
    idle = http.client.HTTPConnection(urlsplit(url).netloc)

    def head() -> None:
        idle.request("HEAD", urlsplit(url).path)
        idle.getresponse().read()

    head()
    hub.down()
    with pytest.raises(ConnectionError):
        head()
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        fetch(url)
    hub.up()
    assert fetch(url).body == CONFIG


def test_the_demo_server_serves_a_folder_until_terminated(tmp_path: Path) -> None:
    model = tmp_path / "little"
    model.mkdir()
    (model / "README.md").write_text("# Little model\n")
    (model / "model.safetensors").write_bytes(WEIGHTS)
    command = [sys.executable, "-m", "tests.serve", str(model), "--print-endpoint"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        endpoint = server.stdout.readline().strip()
        commits = fetch(f"{endpoint}/api/models/demo/little/commits/main").json()
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
    assert len(commits) == 2


def test_tests_cannot_reach_the_real_home(isolated: Path) -> None:
    assert Path.home() == isolated
    assert os.environ["HF_HOME"].startswith(str(isolated))
