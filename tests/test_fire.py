"""Collectors beside readers, linkers, pullers and pinners: nobody misses what he may count on."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from modelkeep.errors import BusyError, NotFoundError
from modelkeep.fs.durable import unique_name
from modelkeep.hub.holds import in_hand
from modelkeep.hub.repo import parse
from modelkeep.keep import Keep
from modelkeep.store import marks
from modelkeep.store.digest import hash_bytes
from tests import forks
from tests.hub import Hub
from tests.keeping import content
from tests.models import random_bytes
from tests.store.support import SOURCE, part

MIB = 1 << 20
PATIENCE_S = 0.5
"""How long consumers wait for a mark here; a collector is stopped for longer than that."""

CHURNED = [f"org/churned{number}" for number in range(4)]
PUBLISHED = [f"org/published{number}" for number in range(2)]
REVISIONS = 12
SHARED = [random_bytes(MIB + 3, number) for number in range(3)]
STEPS = [
    "release:condemned",
    "release:trashed",
    "release:forgotten",
    "remove:announced",
    "remove:ref",
    "remove:hiding#2",
    "remove:hidden",
    "remove:looked",
    "remove:taking",
    "remove:taken",
    "remove:blob",
    "remove:folder",
    "discard:looked",
]
"""Where a collector is stopped."""

Tally = Counter[str]


def files(name: str, number: int) -> dict[str, bytes]:
    """A revision: weights that others share, a file that may be read in place, one of its own."""
    return {
        "config.json": f"{name} {number}".encode(),
        "model.safetensors": SHARED[number % len(SHARED)],
        "extra.bin": random_bytes(MIB + 5, 100 * (CHURNED + PUBLISHED).index(name) + number + 50),
    }


def litter(keep: Keep, data: bytes) -> None:
    """Leave a content in the store that nothing refers to, as a pull does that was interrupted."""
    digest = hash_bytes(data, "sha256")
    with suppress(FileNotFoundError):  # here already, and taken away just now
        keep.store.publish(part(keep.store, data, unique_name()), digest, source=SOURCE)


def missed(done: Tally) -> None:
    """Nothing was there; leave the processor to those who bring something."""
    done["missed"] += 1
    time.sleep(0.01)


@dataclass
class Fire:
    """A keep, its Hub, and when to stop."""

    keep: Keep
    folder: Path
    commits: dict[str, list[str]]
    expected: dict[str, dict[str, bytes]]
    end: float

    def opened(self) -> Keep:
        return Keep.open(self.keep.directory)

    def burning(self, seed: int) -> Iterator[random.Random]:
        chance = random.Random(seed)
        while time.time() < self.end:
            yield chance

    def loads(self, commit: str, cache: Path, repo: str, *, times: int = 1) -> None:
        """A stock client finds the revision, and every byte of it is there, again and again."""
        for _ in range(times):
            top = snapshot_download(repo, revision=commit, cache_dir=cache, local_files_only=True)
            assert content(Path(top)) == self.expected[commit]

    def read(self, seed: int) -> Tally:
        """Lease what is there, load it through the hub, and let go."""
        keep, done = self.opened(), Tally()
        for chance in self.burning(seed):
            name = chance.choice(CHURNED)
            repo = parse(name)[0]
            commit = keep.hub.resolve(repo, "main")
            tree = keep.hub.tree(repo, commit) if commit else None
            if commit is None or tree is None:
                missed(done)
                continue
            with in_hand(keep.store, repo, commit, {f.digest for f in tree}, reason="read"):
                if not keep.is_complete(name, commit):
                    done["missed"] += 1
                    continue
                self.loads(commit, keep.hub.directory, name, times=10)
                done["read"] += 1
        return done

    def link(self, seed: int) -> Tally:
        """Give what is there to another cache, which then holds it whatever happens."""
        keep, done = self.opened(), Tally()
        cache = self.folder / f"cache{seed}"
        for chance in self.burning(seed):
            name = chance.choice(CHURNED)
            try:
                linked = keep.link(name, into=cache)
            except (NotFoundError, BusyError):
                missed(done)
                continue
            self.loads(linked.commit, cache, name, times=3)
            done["linked"] += 1
            if chance.random() < 0.5:
                shutil.rmtree(cache / parse(name)[0].folder)
        return done

    def pull(self, seed: int) -> Tally:
        """Pull what others remove; and publish what no collector was told to take away."""
        keep, done = self.opened(), Tally()
        published = PUBLISHED[seed % len(PUBLISHED)]
        last = None
        for chance, commit in zip(self.burning(seed), cycle(self.commits[published])):
            litter(keep, chance.choice(SHARED))
            try:
                keep.pull(chance.choice(CHURNED))
                done["pulled"] += 1
            except BusyError:
                done["busy"] += 1
            keep.pull(published, commit)
            self.loads(commit, keep.hub.directory, published, times=10)
            done["published"] += 1
            if last not in (None, commit):
                keep.remove(keep.plan_removal(published, last))
            last = commit
        return done

    def pin(self, seed: int) -> Tally:
        """Pin what is there; while it is pinned it stays."""
        keep, done = self.opened(), Tally()
        for chance in self.burning(seed):
            name = chance.choice(CHURNED)
            try:
                keep.pin(name)
            except NotFoundError:
                missed(done)
                continue
            commit = keep.hub.resolve(parse(name)[0], "main")
            if commit is not None and keep.is_complete(name, commit):
                self.loads(commit, keep.hub.directory, name, times=20)
                done["pinned"] += 1
            keep.unpin(name)
        return done

    def collect(self, seed: int) -> Tally:
        """Collect garbage of any age, evict, and remove by name."""
        keep, done = self.opened(), Tally()
        for chance in self.burning(seed):
            self.collect_once(keep, chance, done)
        return done

    def collect_once(self, keep: Keep, chance: random.Random, done: Tally) -> None:
        what = chance.choice(["garbage", "evict", "rm"])
        try:
            if what == "rm":
                freed = keep.remove(keep.plan_removal(chance.choice(CHURNED))).bytes_freed
            else:
                match = ["churned*"] if what == "evict" else []
                freed = keep.collect(keep.plan_collection(match=match, grace=0)).bytes_freed
        except (NotFoundError, BusyError):
            done[f"{what} refused"] += 1
        else:
            done[what] += bool(freed)
            time.sleep(0.01)

    def stopped_collector(self, seed: int) -> Tally:
        """Collect, be stopped somewhere for longer than others wait, and go on: again and again."""
        done = Tally()
        for chance in self.burning(seed):
            step = f"{chance.choice(STEPS)}#{chance.randint(1, 3)}"

            def work(chance: random.Random = chance) -> None:
                for _ in range(4):
                    self.collect_once(self.opened(), chance, Tally())

            child = forks.start(work, sync=f"stop:{step}")
            status = os.waitpid(child.pid, os.WUNTRACED)[1]
            if os.WIFSTOPPED(status):
                time.sleep(2 * PATIENCE_S)
                child.resume()
                child.result()
                done[f"stopped at {step.partition('#')[0]}"] += 1
        return done


def burn(fire: Fire) -> list[Tally]:
    """Let eight processes at it; raise what any of them found amiss."""
    return forks.together(
        [
            partial(fire.read, 1),
            partial(fire.read, 2),
            partial(fire.link, 3),
            partial(fire.pull, 4),
            partial(fire.pull, 5),
            partial(fire.pin, 6),
            partial(fire.collect, 7),
            partial(fire.stopped_collector, 8),
        ]
    )


@pytest.fixture
def fire(keep_dir: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fire:
    monkeypatch.setattr(marks, "_LIFETIME_S", PATIENCE_S)
    commits: dict[str, list[str]] = {}
    expected = {}
    for name in (*CHURNED, *PUBLISHED):
        repo = hub.repo(name)
        for number in range(REVISIONS if name in PUBLISHED else 1):
            commit = repo.commit(files(name, number))
            commits.setdefault(name, []).append(commit)
            expected[commit] = files(name, number)
    return Fire(Keep.create(keep_dir), tmp_path, commits, expected, 0.0)


def nothing_left_behind(fire: Fire) -> None:
    layout = fire.keep.store.layout
    for folder in (layout.condemned_marks, layout.trash, layout.leases, layout.partials):
        assert not list(folder.iterdir()), folder
    assert [path.name for path in layout.tmp.iterdir()] == [layout.partials.name]
    caches = [fire.keep.hub.directory, *fire.folder.glob("cache*")]
    strangers = [
        path
        for cache in caches
        for path in cache.rglob("*")
        if path.name.startswith((".snapshot-", ".modelkeep-"))
    ]
    assert not strangers
    assert not scan_cache_dir(fire.keep.hub.directory).warnings


def burned_down(fire: Fire, seconds: float) -> None:
    fire.end = time.time() + seconds
    tallies = burn(fire)

    told = sum(tallies, Tally())
    for work in ("read", "linked", "pulled", "published", "pinned", "garbage", "evict", "rm"):
        assert told[work], told
    assert sum(count for what, count in told.items() if what.startswith("stopped at")), told
    nothing_left_behind(fire)
    keep = fire.keep
    assert keep.verify().ok
    for listed in keep.list().repos:
        for revision in listed.revisions:
            assert revision.complete
            fire.loads(revision.commit, keep.hub.directory, listed.repo)
    for name in CHURNED:
        # A removal that was stopped for too long leaves a folder, which the next one finishes.
        if keep.hub.folder(parse(name)[0]).is_dir():
            keep.remove(keep.plan_removal(name))
    for name in PUBLISHED:
        keep.remove(keep.plan_removal(name))
    keep.collect(keep.plan_collection(grace=0))
    assert not [path for path, status in keep.store.blobs() if status.st_nlink == 1]


def test_nothing_that_is_counted_on_goes(fire: Fire) -> None:
    burned_down(fire, 45)


@pytest.mark.stress
@pytest.mark.timeout(1200)
def test_nothing_that_is_counted_on_goes_in_ten_minutes(fire: Fire) -> None:
    burned_down(fire, 600)
