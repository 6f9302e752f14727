"""Whatever is done to a keep, in whatever order: it holds what a dictionary would hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from modelkeep.errors import NotFoundError
from modelkeep.fs.links import COPY_BELOW
from modelkeep.keep import Keep
from tests.hub import Hub
from tests.keeping import content, held_by, loaded
from tests.models import random_bytes

Files = dict[str, bytes]
Content = tuple[bool, bytes]  # the Hub names the same bytes otherwise in LFS than in git

NAMES = ("org/a", "org/b", "org/c")
LOCAL = "me/mine"
CONTENTS = (
    b"",
    b"{}",
    b"small" * 100,
    random_bytes((1 << 20) + 1, 1),
    random_bytes((1 << 20) + 2, 2),
)
PATHS = ("config.json", "model.safetensors", "deep/er/tokenizer.txt")

repos = st.sampled_from(NAMES)
caches = st.sampled_from(("one", "two"))
trees = st.dictionaries(
    st.sampled_from(PATHS), st.integers(0, len(CONTENTS) - 1), min_size=1, max_size=3
)


def filled(tree: dict[str, int]) -> Files:
    """The files of a tree, which names contents by number to be short when it is told."""
    return {path: CONTENTS[number] for path, number in tree.items()}


class Keeping(RuleBasedStateMachine):
    """A keep, two other caches and a stock client, against dictionaries."""

    hub: Hub
    scratch: Path

    @initialize(first=trees)
    def make(self, first: dict[str, int]) -> None:
        self.top = Path(tempfile.mkdtemp(dir=self.scratch))
        self.keep = Keep.create(self.top / "keep")
        self.upstream: dict[str, dict[str, Files]] = {}
        self.held: dict[str, dict[str, Files]] = {}
        self.unsettled: set[tuple[str, str]] = set()
        self.linked: dict[str, dict[str, dict[str, Files]]] = {"one": {}, "two": {}}
        self.edited: dict[str, set[Content]] = {}
        for name in NAMES:
            self.hub.repo(name)
            self.upstream[name] = {}
            self.commit(name, filled(first))

    def commit(self, name: str, files: Files) -> None:
        repo = self.hub._router.repos["model", name]
        self.upstream[name][repo.commit(files)] = files

    def head(self, name: str) -> str:
        return self.hub._router.repos["model", name].sha

    @rule(name=repos, tree=trees)
    def upstream_moves(self, name: str, tree: dict[str, int]) -> None:
        self.commit(name, filled(tree))

    @rule(name=repos)
    def pull(self, name: str) -> None:
        commit = self.head(name)
        known = self.stored()
        files = self.upstream[name][commit]
        brought = any(name == other for other, _ in self.unsettled)

        pulled = self.keep.pull(name)

        assert pulled.commit == commit
        if not brought:
            assert pulled.bytes_fetched == sum(
                len(data) for _, data in self.distinct([files]) - known
            )
        self.held.setdefault(name, {})[commit] = files
        self.unsettled.discard((name, commit))
        self.mended(name, files)

    @rule(tree=trees)
    def add(self, tree: dict[str, int]) -> None:
        folder = Path(tempfile.mkdtemp(dir=self.top))
        files = {**filled(tree), "config.json": b"{}"}
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        added = self.keep.add(folder, LOCAL)
        self.held.setdefault(LOCAL, {})[added.commit] = files
        self.mended(LOCAL, files)

    @rule(name=repos)
    def a_stock_client_downloads(self, name: str) -> None:
        commit = self.head(name)
        snapshot_download(name, cache_dir=self.keep.hub.directory, endpoint=self.hub.endpoint)
        if commit not in self.held.get(name, {}):
            self.unsettled.add((name, commit))
        self.held.setdefault(name, {})[commit] = self.upstream[name][commit]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), cache=caches)
    def link(self, data: st.DataObject, cache: str) -> None:
        name, commit = self.some_revision(data)
        if not self.in_store(name, commit):
            with pytest.raises(NotFoundError):
                self.keep.link(name, commit, into=self.top / cache)
            return
        self.keep.link(name, commit, into=self.top / cache)
        self.linked[cache].setdefault(name, {})[commit] = self.held[name][commit]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), whole=st.booleans())
    def rm(self, data: st.DataObject, whole: bool) -> None:
        name, commit = self.some_revision(data)
        plan = self.keep.plan_removal(name, None if whole else commit)

        removal = self.keep.remove(plan)

        assert removal.bytes_freed == plan.bytes_planned
        if whole:
            del self.held[name]
            self.unsettled = {held for held in self.unsettled if held[0] != name}
        else:
            del self.held[name][commit]
            self.unsettled.discard((name, commit))
            if not self.held[name]:
                del self.held[name]
        if name not in self.held:
            self.edited.pop(name, None)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def a_person_edits_a_small_file(self, data: st.DataObject) -> None:
        name, commit = self.some_revision(data)
        found = held_by(self.keep, name, commit)
        for path, text in self.held[name][commit].items():
            if 0 < len(text) < 1 << 20:
                blob = (self.keep.hub.snapshot(found.repo, commit) / path).resolve()
                blob.chmod(0o644)
                blob.write_bytes(b"edited")
                self.edited.setdefault(name, set()).update(self.distinct([{path: text}]))

    @rule()
    def verify(self) -> None:
        report = self.keep.verify()
        assert not report.missing
        assert not report.unverifiable
        # Only what a person edited differs from its name, and all of that is found.
        assert {repo for bad in report.corrupt for repo in bad.repos} == {
            name
            for name, revisions in self.held.items()
            if self.distinct(revisions.values()) & self.edited.get(name, set())
        }

    @invariant()
    def every_revision_loads_with_its_bytes(self) -> None:
        for name, revisions in self.held.items():
            for commit, files in revisions.items():
                found = loaded(self.keep, name, commit)
                assert found.keys() == files.keys()
                for path, data in files.items():
                    edited = self.distinct([{path: data}]) <= self.edited.get(name, set())
                    assert found[path] == (b"edited" if edited else data)

    @invariant()
    def every_linked_revision_loads_with_its_bytes(self) -> None:
        for cache, repos in self.linked.items():
            for name, revisions in repos.items():
                for commit, files in revisions.items():
                    folder = f"models--{name.replace('/', '--')}/snapshots/{commit}"
                    assert content(self.top / cache / folder) == files

    @invariant()
    def the_listing_is_the_dictionary(self) -> None:
        listing = self.keep.list()
        assert {repo.repo: {r.commit for r in repo.revisions} for repo in listing.repos} == {
            name: set(revisions) for name, revisions in self.held.items()
        }
        for repo in listing.repos:
            for revision in repo.revisions:
                # A stock client that knows a listing already does not always note it again.
                brought = (repo.repo, revision.commit) in self.unsettled
                assert revision.complete or (brought and revision.complete is None)
            if not self.edited.get(repo.repo):
                distinct = self.distinct(self.held[repo.repo].values())
                assert repo.bytes_total == sum(len(data) for _, data in distinct)

    @invariant()
    def the_store_has_what_is_used_and_nothing_bad(self) -> None:
        used = self.distinct(
            [
                *self.settled(),
                # Small files are copies there, which need no blob.
                *(
                    {path: data for path, data in files.items() if len(data) >= COPY_BELOW}
                    for cache in self.linked.values()
                    for revisions in cache.values()
                    for files in revisions.values()
                ),
            ]
        )
        assert used <= self.stored()
        assert not list(self.keep.store.layout.trash.iterdir())
        assert not scan_cache_dir(self.keep.hub.directory).warnings

    def mended(self, name: str, files: Files) -> None:
        self.edited[name] = self.edited.get(name, set()) - self.distinct([files])

    def stored(self) -> set[Content]:
        store = self.keep.store
        return {(d.algorithm == "sha256", store.path(d).read_bytes()) for d, _ in store.blobs()}

    def settled(self) -> list[Files]:
        return [
            files
            for name, revisions in self.held.items()
            for commit, files in revisions.items()
            if (name, commit) not in self.unsettled
        ]

    def in_store(self, name: str, commit: str) -> bool:
        files = held_by(self.keep, name, commit).files
        return bool(files) and all(self.keep.store.has(file.digest) for file in files)

    def some_revision(self, data: st.DataObject) -> tuple[str, str]:
        choices = [(n, c) for n, revisions in sorted(self.held.items()) for c in sorted(revisions)]
        return data.draw(st.sampled_from(choices))

    @staticmethod
    def distinct(trees: Iterable[Files]) -> set[Content]:
        return {(path.endswith(".safetensors"), d) for files in trees for path, d in files.items()}


def test_a_keep_is_a_dictionary(hub: Hub, tmp_path: Path) -> None:
    machine = type("Keeping", (Keeping,), {"hub": hub, "scratch": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=12,
            derandomize=True,
            deadline=None,
            phases=[Phase.generate],
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
