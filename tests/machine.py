"""A keep beside dictionaries of what it should hold, and what must be true after every step."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from huggingface_hub import scan_cache_dir, snapshot_download
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from modelkeep.fs.links import COPY_BELOW
from modelkeep.keep import Keep
from modelkeep.store.digest import Digest, hash_bytes
from tests.caches import Picture
from tests.hub import Hub
from tests.keeping import content, loaded
from tests.models import random_bytes

Files = dict[str, bytes]
Content = tuple[bool, bytes]  # the Hub names the same bytes otherwise in LFS than in git
Revisions = dict[str, dict[str, Files]]  # by repo, then by commit

NAMES = ("org/a", "org/b", "org/c")
LOCAL = "me/mine"
CONTENTS = (
    b"",
    b"{}",
    b"small" * 100,
    random_bytes(COPY_BELOW + 1, 1),
    random_bytes(COPY_BELOW + 2, 2),
)
PATHS = ("config.json", "model.safetensors", "deep/er/tokenizer.txt")

trees = st.dictionaries(
    st.sampled_from(PATHS), st.integers(0, len(CONTENTS) - 1), min_size=1, max_size=3
)


def filled(tree: dict[str, int]) -> Files:
    """The files of a tree, which names contents by number to be short when it is told."""
    return {path: CONTENTS[number] for path, number in tree.items()}


def distinct(trees: Iterable[Files]) -> set[Content]:
    """The contents of files, each once, by the way the Hub names them."""
    return {
        (path.endswith(".safetensors"), data) for files in trees for path, data in files.items()
    }


def digest(of: Content) -> Digest:
    return hash_bytes(of[1], "sha256" if of[0] else "git-sha1")


def large(contents: Iterable[Content]) -> set[Content]:
    """Those that a cache shares with the store; smaller ones are copies, which need no blob."""
    return {(lfs, data) for lfs, data in contents if len(data) >= COPY_BELOW}


class World(RuleBasedStateMachine):
    """A keep, a Hub, other caches of the same user, and what is known of them.

    `held` are the revisions in the keep's hub, `brought` those that a client put there, `unsettled`
    the contents of repos that nobody has hashed, `edited` those that a person has overwritten.
    `linked` are caches that the keep was linked into, `adopted` those that it took over.
    """

    hub: ClassVar[Hub]
    scratch: ClassVar[Path]

    @initialize(first=trees)
    def make(self, first: dict[str, int]) -> None:
        self.top = Path(tempfile.mkdtemp(dir=self.scratch))
        self.keep = Keep.create(self.top / "keep")
        self.upstream: Revisions = {}
        self.held: Revisions = {}
        self.ever: dict[str, set[Content]] = {}
        self.brought: set[tuple[str, str]] = set()
        self.unsettled: dict[str, set[Content]] = {}
        self.edited: dict[str, set[Content]] = {}
        self.linked: dict[str, Revisions] = {}
        self.adopted: dict[str, Revisions] = {}
        self.before: dict[str, Picture] = {}
        self.pinned: set[str] = set()
        self.leased: dict[str, str] = {}
        self.local: set[Content] = set()
        self.last_stored: set[Content] = set()
        self.may_lose: set[Content] = set()
        for name in NAMES:
            self.hub.repo(name)
            self.upstream[name] = {}
            self.commit(name, filled(first))

    def teardown(self) -> None:
        shutil.rmtree(self.top, ignore_errors=True)

    @invariant()
    def every_revision_loads_with_its_bytes(self) -> None:
        for name, revisions in self.held.items():
            for commit, files in revisions.items():
                edited = self.edited.get(name, set())
                assert loaded(self.keep, name, commit) == {
                    path: b"edited" if distinct([{path: data}]) <= edited else data
                    for path, data in files.items()
                }

    @invariant()
    def every_other_cache_loads_with_its_bytes(self) -> None:
        for cache, repos in (self.linked | self.adopted).items():
            for name, revisions in repos.items():
                for commit, files in revisions.items():
                    assert content(snapshot(self.top / cache, name, commit)) == files

    @invariant()
    def the_listing_is_the_dictionary(self) -> None:
        listing = self.keep.list()
        assert {repo.repo: {r.commit for r in repo.revisions} for repo in listing.repos} == {
            name: set(revisions) for name, revisions in self.held.items()
        }
        for repo in listing.repos:
            for revision in repo.revisions:
                # A stock client that knows a listing already does not always note it again.
                brought = (repo.repo, revision.commit) in self.brought
                assert revision.complete or (brought and revision.complete is None)
            held = distinct(self.held[repo.repo].values())
            edited = self.edited.get(repo.repo, set())
            assert repo.pinned == any(pin.partition("@")[0] == repo.repo for pin in self.pinned)
            if not edited & held:
                assert repo.bytes_total == sum(len(data) for _, data in held)
                unsettled = self.unsettled.get(repo.repo, set())
                assert repo.bytes_unsettled == sum(len(data) for _, data in unsettled)

    @invariant()
    def the_store_has_each_content_once_and_loses_nothing_unasked(self) -> None:
        stored = self.stored()
        assert not [*map(digest, self.alive() - stored)]
        assert not [*map(digest, self.last_stored - stored - self.may_lose)]
        self.last_stored, self.may_lose = stored, set()

    @invariant()
    def nothing_is_left_over(self) -> None:
        layout = self.keep.store.layout
        assert not list(layout.trash.iterdir())
        assert not list(layout.condemned_marks.iterdir())
        assert {path.name for path in layout.tmp.iterdir()} <= {"fetch"}
        assert not list(layout.partials.iterdir())
        assert {lease.name for lease in self.keep.leases().leases} == self.pinned | set(self.leased)
        assert not scan_cache_dir(self.keep.hub.directory).warnings

    def commit(self, name: str, files: Files) -> str:
        repo = self.hub._router.repos["model", name]
        commit = repo.commit(files)
        self.upstream[name][commit] = files
        return commit

    def head(self, name: str) -> str:
        return self.hub._router.repos["model", name].sha

    def client_downloads(self, name: str, cache: Path) -> None:
        snapshot_download(name, cache_dir=cache, endpoint=self.hub.endpoint)

    def stored(self) -> set[Content]:
        """What the store has, read from its files; each is what its name says."""
        found = []
        for name, _ in self.keep.store.blobs():
            blob = (name.algorithm == "sha256", self.keep.store.path(name).read_bytes())
            assert digest(blob) == name
            found.append(blob)
        assert len(found) == len(set(found))
        return set(found)

    def alive(self) -> set[Content]:
        """What the store must have: what is settled in the hub, and what other caches share."""
        settled = [
            distinct(revisions.values()) - self.unsettled.get(name, set())
            for name, revisions in self.held.items()
        ]
        others = [
            large(distinct(revisions.values()))
            for repos in (self.linked | self.adopted).values()
            for revisions in repos.values()
        ]
        return set[Content]().union(*settled, *others)

    def here(self) -> set[Content]:
        """All that the hub and the other caches hold, settled or not, shared or not."""
        caches = (self.held, *self.linked.values(), *self.adopted.values())
        return distinct(
            files for repos in caches for commits in repos.values() for files in commits.values()
        )

    def is_protected(self, name: str, commit: str) -> bool:
        return not {name, f"{name}@{commit}"}.isdisjoint(self.pinned | set(self.leased))

    def hold(self, name: str, commit: str, files: Files) -> None:
        """Note a revision that came into the hub by modelkeep."""
        self.has(name, commit, files)
        self.brought.discard((name, commit))
        self.mended(name, distinct([files]))

    def has(self, name: str, commit: str, files: Files) -> None:
        """Note a revision in the hub."""
        self.held.setdefault(name, {})[commit] = files
        self.ever[name] = self.ever.get(name, set()) | distinct([files])

    def mended(self, name: str, contents: set[Content]) -> None:
        self.edited[name] = self.edited.get(name, set()) - contents

    def settled(self, name: str) -> None:
        """Note that a repo was settled; what was edited before that stays as it is."""
        self.unsettled[name] = self.unsettled.get(name, set()) & self.edited.get(name, set())

    def forget(self, name: str, commit: str) -> None:
        """Note that a revision was removed."""
        files = self.held[name].pop(commit)
        self.brought.discard((name, commit))
        if not self.held[name]:
            del self.held[name]
        rest = distinct(self.held.get(name, {}).values())
        # With a repo goes what it ever had and nobody needs, as after a removal that was cut short.
        self.may_lose |= (distinct([files]) if rest else self.ever[name]) - rest
        for noted in (self.edited, self.unsettled):
            noted[name] = noted.get(name, set()) & rest

    def damaged(self) -> set[tuple[str, Content]]:
        """What a person has edited and is still there, by repo."""
        return {
            (name, each)
            for name, revisions in self.held.items()
            for each in distinct(revisions.values()) & self.edited.get(name, set())
        }

    def some_revision(self, data: st.DataObject) -> tuple[str, str]:
        choices = [(n, c) for n, revisions in sorted(self.held.items()) for c in sorted(revisions)]
        return data.draw(st.sampled_from(choices))


def snapshot(cache: Path, name: str, commit: str) -> Path:
    return cache / f"models--{name.replace('/', '--')}/snapshots/{commit}"
