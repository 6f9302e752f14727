"""Whatever is done to a keep, in whatever order: it holds what a dictionary would hold."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from modelkeep.errors import BusyError, NotFoundError
from modelkeep.fs.identity import current
from tests.caches import picture
from tests.hub import Hub
from tests.keeping import content, held_by
from tests.machine import LOCAL, NAMES, World, digest, distinct, filled, large, trees
from tests.store.support import flip

repos = st.sampled_from(NAMES)
caches = st.sampled_from(("one", "two"))


class Keeping(World):
    """Every operation on a keep, and what clients and people do beside it."""

    @rule(name=repos, tree=trees)
    def upstream_moves(self, name: str, tree: dict[str, int]) -> None:
        self.commit(name, filled(tree))

    @rule(name=repos)
    def pull(self, name: str) -> None:
        commit = self.head(name)
        files = self.upstream[name][commit]
        known = self.stored() | (self.unsettled.get(name, set()) - self.edited.get(name, set()))

        pulled = self.keep.pull(name)

        assert pulled.commit == commit
        assert pulled.bytes_fetched == sum(len(data) for _, data in distinct([files]) - known)
        self.settled(name)
        self.unsettled[name] -= distinct([files])
        self.hold(name, commit, files)

    @rule(tree=trees)
    def add(self, tree: dict[str, int]) -> None:
        folder = Path(tempfile.mkdtemp(dir=self.top))
        files = {**filled(tree), "config.json": b"{}"}
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        added = self.keep.add(folder, LOCAL)
        self.hold(LOCAL, added.commit, files)
        self.local |= distinct([files])

    @rule(name=repos)
    def a_stock_client_downloads(self, name: str) -> None:
        commit = self.head(name)
        files = self.upstream[name][commit]
        there = distinct(self.held.get(name, {}).values())
        self.client_downloads(name, self.keep.hub.directory)
        self.unsettled[name] = self.unsettled.get(name, set()) | (distinct([files]) - there)
        if commit not in self.held.get(name, {}):
            self.brought.add((name, commit))
        self.has(name, commit, files)

    @rule()
    def settle(self) -> None:
        unsettled = {name: set(contents) for name, contents in self.unsettled.items()}
        edited = self.damaged()
        settled = self.keep.settle()
        assert settled.skipped == ()
        assert len(settled.corrupt) == len(edited)
        assert settled.files == sum(
            len(contents - self.edited.get(name, set())) for name, contents in unsettled.items()
        )
        self.all_settled()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), cache=caches)
    def link_into_a_cache(self, data: st.DataObject, cache: str) -> None:
        name, commit = self.some_revision(data)
        if not self.in_store(name, commit):
            with pytest.raises(NotFoundError):
                self.keep.link(name, commit, into=self.top / cache)
            return
        self.keep.link(name, commit, into=self.top / cache)
        linked = self.linked.setdefault(cache, {})
        linked.setdefault(name, {})[commit] = self.held[name][commit]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def link_to_a_folder(self, data: st.DataObject) -> None:
        name, commit = self.some_revision(data)
        if self.in_store(name, commit):
            folder = Path(tempfile.mkdtemp(dir=self.top))
            self.keep.link(name, commit, to=folder)
            assert content(folder) == self.held[name][commit]
            shutil.rmtree(folder)

    @precondition(lambda self: self.linked)
    @rule(data=st.data())
    def a_person_deletes_a_linked_cache(self, data: st.DataObject) -> None:
        cache = data.draw(st.sampled_from(sorted(self.linked)))
        shutil.rmtree(self.top / cache)
        del self.linked[cache]

    @rule(name=repos, merge=st.booleans())
    def adopt(self, name: str, merge: bool) -> None:
        cache = tempfile.mkdtemp(dir=self.top)
        commit = self.head(name)
        files = self.upstream[name][commit]
        self.client_downloads(name, Path(cache))
        before = picture(Path(cache))
        (plan,) = self.keep.plan_adoption([cache], merge=merge, share=True)

        adopted = self.keep.adopt(plan)

        assert adopted.corrupt == ()
        # A branch that stands for something else in the keep stays the keep's.
        assert all(merge and "/refs/" in skipped.path for skipped in adopted.skipped)
        if merge:
            self.unsettled[name] = self.unsettled.get(name, set()) - distinct([files])
            self.brought.add((name, commit))
            self.has(name, commit, files)
            self.mended(name, distinct([files]))
            shutil.rmtree(cache, ignore_errors=True)
        elif adopted.journal:
            self.adopted[Path(cache).name] = {name: {commit: files}}
            self.before[Path(cache).name] = before

    @precondition(lambda self: self.adopted)
    @rule(data=st.data())
    def undo_an_adoption(self, data: st.DataObject) -> None:
        cache = data.draw(st.sampled_from(sorted(self.adopted)))
        (plan,) = self.keep.plan_undo([self.top / cache])
        self.keep.undo(plan)
        assert picture(self.top / cache) == self.before.pop(cache)
        del self.adopted[cache]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), whole=st.booleans())
    def rm(self, data: st.DataObject, whole: bool) -> None:
        name, commit = self.some_revision(data)
        commits = list(self.held[name]) if whole else [commit]
        if any(self.is_protected(name, each) for each in commits):
            with pytest.raises(BusyError):
                self.keep.plan_removal(name, None if whole else commit)
            return
        plan = self.keep.plan_removal(name, None if whole else commit)

        removal = self.keep.remove(plan)

        assert removal.bytes_freed == plan.bytes_planned
        for each in commits:
            self.forget(name, each)

    @rule(at_once=st.booleans())
    def gc_of_garbage(self, at_once: bool) -> None:
        plan = self.keep.plan_collection(grace=0 if at_once else None)
        removal = self.keep.collect(plan)
        assert removal.bytes_freed == plan.bytes_planned
        if at_once:
            self.may_lose = self.last_stored
            assert self.stored() <= self.here() | self.local

    @rule(name=repos, everything=st.booleans())
    def gc_makes_room(self, name: str, everything: bool) -> None:
        match = () if everything else (name,)
        plan = self.keep.plan_collection(everything=everything, match=match)
        self.keep.collect(plan)
        gone = {item.name for item in plan.remove if item.kind == "revision"}
        for repo, commit in self.revisions():
            meant = everything or repo == name
            fetched = not distinct([self.held[repo][commit]]) & self.unsettled.get(repo, set())
            if f"{repo}@{commit}" in gone:
                assert meant
                assert repo != LOCAL
                assert not self.is_protected(repo, commit)
                self.forget(repo, commit)
            elif meant and fetched and repo != LOCAL:
                assert self.is_protected(repo, commit)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), whole=st.booleans())
    def pin(self, data: st.DataObject, whole: bool) -> None:
        name, commit = self.some_revision(data)
        name = name if whole else f"{name}@{commit}"
        self.keep.pin(name)
        self.pinned.add(name)

    @precondition(lambda self: self.pinned)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pinned)))
        self.keep.unpin(name)
        self.pinned = {pin for pin in self.pinned if pin != name and pin.partition("@")[0] != name}

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def a_program_takes_a_lease(self, data: st.DataObject) -> None:
        name, commit = self.some_revision(data)
        if f"{name}@{commit}" not in self.leased:
            digests = map(digest, distinct([self.held[name][commit]]))
            lease = self.keep.store.leases.take(f"{name}@{commit}", digests, owner=current())
            self.leased[lease.name] = lease.id

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def the_program_ends(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.leased)))
        self.keep.store.leases.drop(self.leased.pop(name))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def a_person_edits_a_small_file(self, data: st.DataObject) -> None:
        name, commit = self.some_revision(data)
        found = held_by(self.keep, name, commit)
        small = {
            path: text for path, text in self.held[name][commit].items() if 0 < len(text) < 1 << 20
        }
        for path, text in small.items():
            blob = (self.keep.hub.snapshot(found.repo, commit) / path).resolve()
            blob.chmod(0o644)
            blob.write_bytes(b"edited")
            self.edited.setdefault(name, set()).update(distinct([{path: text}]))

    @rule()
    def verify(self) -> None:
        report = self.keep.verify()
        assert not report.missing
        assert not report.unverifiable
        # Only what a person edited differs from its name, and all of that is found.
        assert {repo for bad in report.corrupt for repo in bad.repos} == {
            name for name, _ in self.damaged()
        }
        self.all_settled()

    @precondition(lambda self: bool(large(self.last_stored)))
    @rule(data=st.data(), bit=st.integers(0, 1 << 23), repair=st.booleans())
    def a_disk_flips_a_bit(self, data: st.DataObject, bit: int, repair: bool) -> None:
        """It is found; upstream has what mends it, or the disk comes to its senses."""
        bad = data.draw(st.sampled_from(sorted(map(digest, large(self.last_stored)))))
        flip(self.keep.store.path(bad), bit)
        report = self.keep.verify()
        assert bad in {*(corrupt.digest for corrupt in report.corrupt), *report.repaired}
        self.all_settled()
        info = self.keep.store.info(bad)
        assert info is not None
        assert info.intact == (bad in report.repaired)
        if info.intact:
            pass  # what a client had brought was good, and healed it
        elif repair and any(source.upstream for source in info.sources):
            report = self.keep.verify(repair=True)
            left = {(repo, corrupt.digest) for corrupt in report.corrupt for repo in corrupt.repos}
            for name, each in self.damaged():
                if (name, digest(each)) not in left:
                    self.mended(name, {each})
            self.all_settled()
            assert bad in report.repaired
        else:
            flip(self.keep.store.path(bad), bit)
            assert bad in self.keep.verify().repaired
        for kept in self.keep.store.layout.trash.iterdir():
            kept.unlink()  # the bad bytes, for whoever wonders

    def all_settled(self) -> None:
        for name in list(self.unsettled):
            self.settled(name)

    def in_store(self, name: str, commit: str) -> bool:
        files = held_by(self.keep, name, commit).files
        return bool(files) and all(self.keep.store.has(file.digest) for file in files)

    def revisions(self) -> list[tuple[str, str]]:
        return [(name, commit) for name, commits in self.held.items() for commit in commits]


def explore(hub: Hub, scratch: Path, *, examples: int, steps: int, derandomize: bool) -> None:
    machine = type("Keeping", (Keeping,), {"hub": hub, "scratch": scratch})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            deadline=None,
            phases=[Phase.generate] if derandomize else [Phase.generate, Phase.shrink],
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_keep_is_a_dictionary(hub: Hub, tmp_path: Path) -> None:
    explore(hub, tmp_path, examples=18, steps=20, derandomize=True)


@pytest.mark.stress
def test_a_keep_is_a_dictionary_for_hours(hub: Hub, tmp_path: Path) -> None:
    explore(hub, tmp_path, examples=400, steps=40, derandomize=False)
