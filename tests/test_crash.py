"""kill -9 after every step: nothing half-visible, nothing lost, and the same command goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from modelkeep.hub.pulled import Pulled
from modelkeep.hub.settle import Settled
from modelkeep.keep import Keep
from modelkeep.store import marks
from modelkeep.store.digest import Digest, hash_bytes
from modelkeep.store.verify import verify
from tests import forks
from tests.hub import Hub, Repository
from tests.keeping import held_by
from tests.models import random_bytes

MIB = 1 << 20
# Reached by several threads at once, how often and in what order differs from run to run.
BY_THREADS = "fetch:"


def contents(number: int) -> dict[str, bytes]:
    """Files of a repository unlike any other: copied, linked, in folders, of one content."""
    weights = random_bytes(MIB + 1, number)
    return {
        "config.json": b'{"number": %d}' % number,
        "model.safetensors": weights,
        "again/model.safetensors": weights,
        "deep/er/text.txt": b"%d" % number,
    }


@dataclass
class Site:
    """A keep, its Hub, and a repository of its own for every kill."""

    keep: Keep
    hub: Hub
    folder: Path
    repos: list[Repository] = field(default_factory=list)

    def repo(self, number: int) -> Repository:
        repo = self.hub.repo(f"org/r{number}")
        repo.commit(contents(number))
        self.repos.append(repo)
        return repo

    def pull(self, repo: Repository) -> Pulled:
        return Keep.open(self.keep.directory).pull(repo.id)

    def pulled(self, number: int) -> Repository:
        repo = self.repo(number)
        forks.run(lambda: self.pull(repo))
        return repo

    def commit_files(self, repo: Repository, commit: str) -> dict[str, bytes]:
        files = repo.commits[commit].files
        return {path: file.blob.read(0, file.size) for path, file in files.items()}


@pytest.fixture
def site(hub: Hub, keep_dir: Path, tmp_path: Path) -> Site:
    return Site(Keep.create(keep_dir), hub, tmp_path)


def whole(cache: Path, expected: Mapping[str, Mapping[str, bytes]]) -> None:
    """A stock scan shows no stranger, and every snapshot it lists has all of its right bytes."""
    scanned = scan_cache_dir(cache)
    assert not scanned.warnings, scanned.warnings
    for repo in scanned.repos:
        for revision in repo.revisions:
            if revision.commit_hash not in expected:
                continue
            found = {
                path.relative_to(revision.snapshot_path).as_posix(): path.read_bytes()
                for path in revision.snapshot_path.rglob("*")
                if not path.is_dir()
            }
            assert found == expected[revision.commit_hash]
    # Stock clients' own lock folder and tag are what no scanner of theirs minds besides repos.
    names = ("models--", ".locks", "CACHEDIR.TAG")
    assert all(path.name.startswith(names) for path in cache.iterdir())


def sound(keep: Keep, files: Mapping[str, bytes]) -> dict[Digest, int]:
    """What the store has of these files is good: its digests and sizes."""
    digests = {
        digest: len(data)
        for data in files.values()
        for digest in (hash_bytes(data, "sha256"), hash_bytes(data, "git-sha1"))
        if keep.store.has(digest)
    }
    assert verify(keep.store, digests, jobs=1).ok
    return digests


def kills(
    function: Callable[[], object], folder: Path, *, last: bool = True
) -> Iterator[tuple[int, str]]:
    """Number and name each place to kill a function like this one, which is run once."""
    found = forks.steps(function, folder / "steps.log", last=last)
    assert len(found) > 3
    yield from enumerate(found, 1)


def test_pull(site: Site) -> None:
    first = site.repo(0)
    for number, step in kills(lambda: site.pull(first), site.folder):
        repo = site.repo(number)
        files = contents(number)
        died = forks.start(partial(site.pull, repo), sync=f"kill:{step}").killed()
        assert died or step.startswith(BY_THREADS), step

        whole(site.keep.hub.directory, {repo.sha: files})
        stored = sound(site.keep, files)
        assert sum(stored.values()) <= MIB + 100
        again = forks.run(partial(site.pull, repo))

        here = {path: (again.snapshot / path).read_bytes() for path in files}
        assert here == files, step
        assert again.bytes_fetched == sum(
            {data: len(data) for data in files.values()}.values()
        ) - sum(stored.values()), step
        whole(site.keep.hub.directory, {repo.sha: files})
        assert site.keep.is_complete(repo.id)
    assert site.keep.verify().ok


def test_pull_of_a_second_revision(site: Site) -> None:
    def changed(number: int) -> dict[str, bytes]:
        return {**contents(number), "config.json": b"%d" % number, "new.bin": b"new%d" % number}

    def prepared(number: int) -> Repository:
        repo = site.pulled(number)
        repo.commit(changed(number))
        return repo

    zero = prepared(0)
    for number, step in kills(lambda: site.pull(zero), site.folder, last=False):
        repo = prepared(number)
        old, new = repo.commits
        died = forks.start(partial(site.pull, repo), sync=f"kill:{step}").killed()
        assert died or step.startswith(BY_THREADS), step

        expected = {old: contents(number), new: changed(number)}
        whole(site.keep.hub.directory, expected)
        assert site.keep.is_complete(repo.id)
        site.hub.clear_log()
        forks.run(partial(site.pull, repo))

        assert held_by(site.keep, repo.id).commit == new
        assert site.keep.is_complete(repo.id)
        assert not site.hub.gets("*model.safetensors")
        whole(site.keep.hub.directory, expected)
    assert site.keep.verify().ok


def test_add(site: Site) -> None:
    def folder(number: int) -> Path:
        top = site.folder / f"model{number}"
        for path, data in contents(number).items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(data)
        return top

    def add(number: int) -> Pulled:
        return site.keep.add(site.folder / f"model{number}", f"org/a{number}")

    folder(0)
    for number, step in kills(lambda: add(0), site.folder):
        top, files = folder(number), contents(number)
        assert forks.start(partial(add, number), sync=f"kill:{step}").killed(), step

        sound(site.keep, files)
        commit = forks.run(partial(add, number)).commit
        whole(site.keep.hub.directory, {commit: files})
        assert site.keep.is_complete(f"org/a{number}")
        assert {path: (top / path).read_bytes() for path in files} == files
        shutil.rmtree(top)
    assert site.keep.verify().ok


def test_link_into_a_cache(site: Site) -> None:
    repo = site.pulled(0)
    files = contents(0)

    def link(cache: Path) -> None:
        site.keep.link(repo.id, into=cache)

    for number, step in kills(lambda: link(site.folder / "cache"), site.folder):
        cache = site.folder / f"cache{number}"
        assert forks.start(partial(link, cache), sync=f"kill:{step}").killed(), step

        if cache.exists():
            whole(cache, {repo.sha: files})
        forks.run(partial(link, cache))
        whole(cache, {repo.sha: files})
        assert [r.commit_hash for r in next(iter(scan_cache_dir(cache).repos)).revisions]
        shutil.rmtree(cache)
    assert site.keep.verify().ok


def test_link_to_a_folder(site: Site) -> None:
    repo = site.pulled(0)
    files = contents(0)

    def link(folder: Path) -> None:
        site.keep.link(repo.id, to=folder)

    for number, step in kills(lambda: link(site.folder / "plain"), site.folder):
        folder = site.folder / f"plain{number}"
        assert forks.start(partial(link, folder), sync=f"kill:{step}").killed(), step

        for path, data in files.items():
            assert not (folder / path).exists() or (folder / path).read_bytes() == data
        forks.run(partial(link, folder))
        assert {path: (folder / path).read_bytes() for path in files} == files
        shutil.rmtree(folder)
    assert site.keep.verify().ok


def test_rm_loses_nothing_else_and_is_finished_by_the_same_command(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_LIFETIME_S", 0.1)
    shared = random_bytes(MIB + 7, 99)

    def pair(number: int) -> tuple[Repository, Repository]:
        doomed, other = site.repo(number), site.hub.repo(f"org/other{number}")
        doomed.commit({"shared.safetensors": shared}, update=True)
        other.commit({"shared.safetensors": shared, "config.json": contents(number)["config.json"]})
        for repo in (doomed, other):
            forks.run(partial(site.pull, repo))
        return doomed, other

    def remove(repo: Repository) -> int:
        return site.keep.remove(site.keep.plan_removal(repo.id)).bytes_freed

    zero, _ = pair(0)
    for number, step in kills(lambda: remove(zero), site.folder, last=False):
        doomed, other = pair(number)
        assert forks.start(partial(remove, doomed), sync=f"kill:{step}").killed(), step

        expected = {repo.sha: site.commit_files(repo, repo.sha) for repo in (doomed, other)}
        if not step.startswith(
            ("remove:blob", "remove:looked", "remove:tak", "remove:released", "release:")
        ):
            whole(site.keep.hub.directory, expected)
        del expected[doomed.sha]
        whole(site.keep.hub.directory, expected)
        assert site.keep.is_complete(other.id)
        if not step.startswith("remove:folder"):  # the last one, after which nothing is left to do
            forks.run(partial(remove, doomed))
        assert not (site.keep.hub.directory / f"models--org--r{number}").exists()
        assert not site.keep.store.has(hash_bytes(contents(number)["model.safetensors"], "sha256"))
        assert site.keep.store.has(hash_bytes(shared, "sha256"))
        whole(site.keep.hub.directory, expected)
    assert site.keep.verify().ok


def test_settle(site: Site) -> None:
    """Of files that are new, that the store has, that are another user's, that stand unlinked."""
    stored = random_bytes(MIB + 3, 77)
    site.hub.repo("org/stored").commit({"stored.safetensors": stored})
    site.keep.pull("org/stored")

    def files(number: int) -> dict[str, bytes]:
        others = random_bytes(MIB + 5, 1000 + number)
        return {**contents(number), "stored.safetensors": stored, "others.safetensors": others}

    def brought(number: int) -> Repository:
        repo = site.hub.repo(f"org/r{number}")
        repo.commit(files(number))
        top = forks.run(
            lambda: snapshot_download(
                repo.id, cache_dir=site.keep.hub.directory, endpoint=site.hub.endpoint
            )
        )
        if os.geteuid() == 0:
            os.chown(Path(top, "others.safetensors").resolve(), 4242, 4242)
        plain = Path(top, "deep/er/text.txt")
        blob = plain.resolve()
        plain.unlink()
        blob.rename(plain)
        return repo

    def settle() -> Settled:
        return Keep.open(site.keep.directory).settle()

    brought(0)
    for number, step in kills(settle, site.folder):
        repo = brought(number)
        assert forks.start(settle, sync=f"kill:{step}").killed(), step

        expected = {repo.sha: files(number)}
        whole(site.keep.hub.directory, expected)
        sound(site.keep, files(number))
        again = forks.run(settle)
        assert again.skipped == again.corrupt == (), step
        whole(site.keep.hub.directory, expected)
        assert not any(listed.bytes_unsettled for listed in site.keep.list().repos), step
        for data in files(number).values():
            digests = (hash_bytes(data, "sha256"), hash_bytes(data, "git-sha1"))
            assert any(map(site.keep.store.has, digests)), step
    assert site.keep.verify().ok
