"""Many processes, one keep: each byte fetched once, and readers see all of a revision or none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from modelkeep.errors import BusyError, ModelkeepError, NotFoundError
from modelkeep.hub.pulled import Pulled
from modelkeep.keep import Keep
from tests import forks
from tests.hub import Hub, Repository
from tests.keeping import content, loaded
from tests.models import random_bytes

MANY = 16
WEIGHTS = random_bytes((1 << 20) + 5, 1)
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "deep/er/text.txt": b"text"}


@pytest.fixture
def keep(keep_dir: Path) -> Keep:
    return Keep.create(keep_dir)


def pull(directory: Path, repo: str) -> Pulled:
    return Keep.open(directory).pull(repo)


def received(hub: Hub) -> Counter[str]:
    """How often each file was sent, by its name."""
    names = [r.path.rpartition("/")[2] for r in hub.gets() if "/api/" not in r.path]
    return Counter(names)


def test_sixteen_pulls_of_one_repo_fetch_each_file_once(keep: Keep, hub: Hub) -> None:
    hub.repo("org/model").commit(FILES)

    pulls = forks.together([partial(pull, keep.directory, "org/model")] * MANY)

    assert received(hub) == {"config.json": 1, "model.safetensors": 1, "text.txt": 1}
    total = sum(map(len, FILES.values()))
    assert sum(pulled.bytes_fetched for pulled in pulls) == total
    assert sum(pulled.bytes_stored for pulled in pulls) == total
    assert {pulled.bytes_total for pulled in pulls} == {total}
    assert len(list(keep.store.blobs())) == 3
    assert loaded(keep, "org/model") == FILES
    assert keep.verify().ok
    assert not scan_cache_dir(keep.hub.directory).warnings
    assert [path.name for path in keep.store.layout.tmp.iterdir()] == ["fetch"]


def test_sixteen_first_pulls_make_the_keep_and_fetch_once(hub: Hub, tmp_path: Path) -> None:
    hub.repo("org/model").commit(FILES)

    def first() -> int:
        return Keep.open_or_create(tmp_path / "keep").pull("org/model").bytes_fetched

    fetched = forks.together([first] * MANY)

    assert sum(fetched) == sum(map(len, FILES.values()))
    assert Keep.open(tmp_path / "keep").verify().ok


def test_sixteen_repos_with_the_same_weights_fetch_them_once(keep: Keep, hub: Hub) -> None:
    for number in range(MANY):
        hub.repo(f"org/m{number}").commit({**FILES, "config.json": b"%d" % number})

    forks.together([partial(pull, keep.directory, f"org/m{number}") for number in range(MANY)])

    assert received(hub) == {"config.json": MANY, "model.safetensors": 1, "text.txt": 1}
    for number in range(MANY):
        assert loaded(keep, f"org/m{number}") == {**FILES, "config.json": b"%d" % number}
    assert keep.list().store.bytes_saved == len(WEIGHTS) * (MANY - 1)
    assert keep.verify().ok


def test_adds_and_links_at_the_same_time_agree(keep: Keep, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    added = forks.together([lambda: keep.add(folder, "org/mine").commit] * 6)
    linked = forks.together(
        [lambda: keep.link("org/mine", into=tmp_path / "cache").bytes_total] * 6
    )

    assert len(set(added)) == 1
    assert set(linked) == {sum(map(len, FILES.values()))}
    top = snapshot_download("org/mine", cache_dir=tmp_path / "cache", local_files_only=True)
    assert content(Path(top)) == FILES
    assert keep.verify().ok


def revision(number: int) -> dict[str, bytes]:
    return {f"f{name}.txt": b"%d" % number for name in range(12)} | {"model.bin": WEIGHTS}


def test_readers_see_a_finished_snapshot_or_none(keep: Keep, hub: Hub) -> None:
    repo = hub.repo("org/model")
    commits = {repo.commit(revision(number)): number for number in range(8)}

    def write() -> int:
        for commit in commits:
            keep.pull("org/model", commit)
        return 0

    def read() -> int:
        seen: set[str] = set()
        top = keep.hub.directory / "models--org--model/snapshots"
        end = time.monotonic() + 60
        while len(seen) < len(commits) and time.monotonic() < end:
            for snapshot in top.iterdir() if top.is_dir() else ():
                assert content(snapshot) == revision(commits[snapshot.name])
                seen.add(snapshot.name)
        return len(seen)

    assert forks.together([write, read, read]) == [0, 8, 8]


def test_removing_and_pulling_the_same_repo_never_leaves_half_of_it(keep: Keep, hub: Hub) -> None:
    hub.repo("org/model").commit(FILES)
    hub.repo("org/other").commit(FILES)
    keep.pull("org/other")
    end = time.monotonic() + 3

    def pulling() -> list[str]:
        said = []
        while time.monotonic() < end:
            try:
                keep.pull("org/model")
            except BusyError:
                said.append("busy")
            time.sleep(0.02)  # a repo that is being pulled is not removed
        return said

    def removing() -> list[str]:
        said = []
        while time.monotonic() < end:
            try:
                keep.remove(keep.plan_removal("org/model"))
                said.append("removed")
            except (NotFoundError, BusyError):
                continue
            except ModelkeepError as error:
                said.append(str(error))
        return said

    said = forks.together([pulling, removing, pulling])

    assert set(said[1]) == {"removed"}
    keep.pull("org/model")
    assert loaded(keep, "org/model") == FILES
    assert loaded(keep, "org/other") == FILES
    assert keep.verify().ok
    assert not scan_cache_dir(keep.hub.directory).warnings


def test_one_that_dies_while_it_fetches_does_not_hold_up_the_others(
    keep: Keep, hub: Hub, tiny_repo: Repository
) -> None:
    holder = forks.start(partial(pull, keep.directory, tiny_repo.id), sync="stop:fetch:started")
    holder.stopped()
    waiters = [forks.start(partial(pull, keep.directory, tiny_repo.id)) for _ in range(3)]
    time.sleep(0.3)
    holder.kill()

    pulls = [waiter.result() for waiter in waiters]

    assert all(pulled.files == 3 for pulled in pulls)
    assert keep.is_complete(tiny_repo.id)
    assert keep.verify().ok


def test_clients_settlers_pulls_and_removals_at_once_lose_nothing(keep: Keep, hub: Hub) -> None:
    """Every round a client and a pull bring what two settle and one removes."""
    staying, passing = hub.repo("org/staying"), hub.repo("org/passing")
    staying.commit(FILES)
    passing.commit({**FILES, "config.json": b"other"})

    def download(repo: Repository) -> None:
        with suppress(OSError):  # the removal takes away what the client is about to link
            snapshot_download(repo.id, cache_dir=keep.hub.directory, endpoint=hub.endpoint)

    def settle() -> tuple[str, ...]:
        settled = Keep.open(keep.directory).settle()
        assert settled.corrupt == ()
        return tuple(skipped.reason for skipped in settled.skipped)

    def remove() -> None:
        with suppress(NotFoundError, BusyError):
            keep.remove(keep.plan_removal(passing.id))

    for _ in range(6):
        work: list[Callable[[], object]] = [
            partial(download, staying),
            partial(download, passing),
            settle,
            settle,
            remove,
            partial(pull, keep.directory, staying.id),
        ]
        forks.together(work)
        assert loaded(keep, staying.id) == FILES
        assert keep.verify(staying.id).ok

    remove()
    assert keep.settle(staying.id).skipped == ()
    assert keep.list().repos[0].bytes_unsettled == 0
    assert {len(keep.store.path(digest).read_bytes()) for digest, _ in keep.store.blobs()} == {
        len(data) for data in FILES.values()
    }
    assert keep.verify().ok
    assert not list(keep.store.layout.trash.iterdir())
    # A client may still have put something into a folder that was on its way out.
    assert not [path for path in keep.store.layout.tmp.iterdir() if not path.is_dir()]
