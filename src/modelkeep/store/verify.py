"""Checks contents against their names, offline: the name is the checksum."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import oserrors, streaming
from modelkeep.fs.oserrors import explained
from modelkeep.fs.sameness import identity
from modelkeep.store import badcopies, heal
from modelkeep.store import meta as metas
from modelkeep.store.checked import Checked
from modelkeep.store.digest import Digest, hash_file
from modelkeep.store.meta import Meta
from modelkeep.store.report import Copy, Corrupt, Remaining, Unverifiable, VerifyReport
from modelkeep.store.scrub import Progress, Run
from modelkeep.store.store import Store
from modelkeep.times import utc_now

Users = Callable[[Digest], tuple[str, ...]]


def verify(
    store: Store | None,
    digests: Iterable[Digest],
    *,
    copies: Iterable[Copy] = (),
    checked: Checked | None = None,
    missing: Iterable[Digest] = (),
    unverifiable: Iterable[Unverifiable] = (),
    users: Users | None = None,
    quick: bool = False,
    max_seconds: float | None = None,
    jobs: int | None = None,
    begin: Progress | None = None,
    progress: Progress | None = None,
    interrupted: Callable[[VerifyReport], None] | None = None,
) -> VerifyReport:
    """Hash blobs, and copies of them, in parallel and compare them with their names.

    Each result is noted at once where the caller may write: what is bad is marked, so that nothing
    new uses it; of what is good and unchanged a log gets the time, and no side file is written.
    What is known to be bad comes first, then what was not verified for longest, so that a run with
    `max_seconds`, or one that was killed, leaves the next to go on. `quick` hashes only what has
    changed since it was hashed, was found bad, or never hashed.

    `missing` and `unverifiable` are what was known before. `users` tells which repos use a blob;
    without it, those it came from are named. `begin` is told the bytes to be hashed, `progress` of
    each piece, from several threads. On KeyboardInterrupt `interrupted` gets what was found so far.
    """
    started = time.monotonic()
    stamps = store.checked() if store is not None else None
    tasks, unchanged = _plan(store, digests, stamps, copies, checked, quick)
    if begin is not None:
        begin(sum(task.size for task in tasks))
    for log in (stamps, checked):
        if log is not None:
            log.prepare()

    def check(task: _Task, told: Progress) -> _Result:
        if isinstance(task.item, Copy):
            return _check_copy(store, task.item, checked, told)
        assert store is not None
        assert stamps is not None
        return _check_blob(store, task.item, stamps, users, told)

    def report(*, stopped: bool = False) -> VerifyReport:
        found = [result.finding for result in run.results]
        gone = {finding.digest for finding in found if isinstance(finding, _Missing)}
        unread = tuple(finding for finding in found if isinstance(finding, Unverifiable))
        return VerifyReport(
            files=len(run.results),
            bytes=sum(result.bytes for result in run.results),
            seconds=time.monotonic() - started,
            corrupt=tuple(finding for finding in found if isinstance(finding, Corrupt)),
            missing=tuple(sorted(gone.union(missing))),
            repaired=tuple(finding.digest for finding in found if isinstance(finding, _Repaired)),
            unverifiable=(*unread, *unverifiable),
            unchanged=unchanged,
            remaining=Remaining(len(run.left), sum(task.size for task in run.left)),
            interrupted=stopped,
        )

    run = Run(tasks, check, jobs=jobs, max_seconds=max_seconds, progress=progress)
    try:
        run.go()
    except KeyboardInterrupt:
        if interrupted is not None:
            interrupted(report(stopped=True))
        raise
    if store is not None:
        badcopies.sweep(store.layout)
    return report()


@dataclass(frozen=True, slots=True)
class _Missing:
    digest: Digest


@dataclass(frozen=True, slots=True)
class _Repaired:
    digest: Digest


@dataclass(frozen=True, slots=True)
class _Result:
    finding: Corrupt | Unverifiable | _Missing | _Repaired | None
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Task:
    item: Digest | Copy
    size: int
    last: str
    """When it was last found good; empty for never, and for what is known to be bad."""


def _plan(
    store: Store | None,
    digests: Iterable[Digest],
    stamps: Checked | None,
    copies: Iterable[Copy],
    checked: Checked | None,
    quick: bool,
) -> tuple[list[_Task], int]:
    """Return what to hash, in order, and how many files are left out as unchanged."""
    found = []
    for digest in digests:
        assert store is not None
        assert stamps is not None
        path = store.path(digest)
        meta = metas.read(store.layout.meta_name(digest))
        sound = meta is not None and meta.bad_since is None
        last = meta.verified_at if meta is not None and sound else None
        try:
            status = os.lstat(path)
        except OSError:
            found.append((_Task(digest, 0, ""), False))
            continue
        same = meta is not None and sound and meta.describes(status)
        if same:
            last = stamps.latest(path, identity(status), last)
        found.append((_Task(digest, status.st_size, last or ""), same))
    for copy in copies:
        when = checked.when(copy.path) if checked is not None else None
        same = False
        if quick and checked is not None and when is not None:
            with suppress(OSError):
                same = checked.is_as_it_was(copy.path, identity(copy.path.stat()))
        found.append((_Task(copy, copy.size, when or ""), same))
    tasks = [task for task, same in found if not (quick and same)]
    # The longest files of an age first: else one thread is left with one of them at the end.
    tasks.sort(key=lambda task: (task.last, -task.size))
    return tasks, len(found) - len(tasks)


def _check_blob(
    store: Store, digest: Digest, stamps: Checked, users: Users | None, progress: Progress
) -> _Result:
    path = store.path(digest)
    try:
        status, found, size = _hash(path, digest, progress, follow=False)
        if found != digest:
            with heal.healing(store.layout, digest):
                # Whoever was healing it meanwhile has finished, and may have changed it under us.
                if identity(path.lstat()) != identity(status):
                    status, found, size = _hash(path, digest, lambda _: None, follow=False)
                if found != digest:
                    return _Result(_bad_blob(store, digest, users, found, status), size)
    except FileNotFoundError:
        return _Result(_Missing(digest))
    except ModelkeepError as error:
        if oserrors.is_lost(error):
            status = path.lstat()
            return _Result(_bad_blob(store, digest, users, None, status))
        return _Result(Unverifiable(digest, str(path), error.message))
    side, now = store.layout.meta(digest), utc_now()
    old = metas.read(side)
    if old and old.verified_at and not old.bad_since and old.describes(status):
        stamps.good(path, identity(status), now)
        return _Result(None, size)
    meta = old.hashed(status, now=now) if old else Meta.of(status, now=now)
    with suppress(ModelkeepError):  # a reader without write access still gets the answer
        metas.write(side, meta)
    return _Result(_Repaired(digest) if old and old.bad_since else None, size)


def _bad_blob(
    store: Store,
    digest: Digest,
    users: Users | None,
    found: Digest | None,
    status: os.stat_result,
) -> Corrupt:
    meta, marked = metas.read(store.layout.meta(digest)), True
    try:
        meta = heal.mark(store.layout, digest)
    except (ModelkeepError, OSError):
        marked = meta is not None and meta.bad_since is not None
    repos = sorted({source.repo for source in meta.sources}) if meta else ()
    return Corrupt(
        digest,
        str(store.path(digest)),
        users(digest) if users else tuple(repos),
        found,
        status.st_nlink,
        marked,
    )


def _check_copy(
    store: Store | None, copy: Copy, checked: Checked | None, progress: Progress
) -> _Result:
    try:
        status, found, size = _hash(copy.path, copy.digest, progress, follow=True)
    except FileNotFoundError:
        return _Result(None)  # removed meanwhile
    except ModelkeepError as error:
        if not oserrors.is_lost(error):
            return _Result(Unverifiable(copy.digest, str(copy.path), error.message))
        status, found, size = copy.path.stat(), None, 0
    if found == copy.digest:
        if checked is not None:
            checked.good(copy.path, identity(status), utc_now())
        if store is not None:
            badcopies.unmark(store.layout, copy.path)
        return _Result(None, size)
    marked = store is None
    if store is not None:
        with suppress(ModelkeepError, OSError):
            badcopies.mark(store.layout, copy.path, copy.digest, status)
            marked = True
    bad = Corrupt(copy.digest, str(copy.path), (copy.user,), found, status.st_nlink, marked)
    return _Result(bad, size)


def _hash(
    path: Path, digest: Digest, progress: Progress, *, follow: bool
) -> tuple[os.stat_result, Digest, int]:
    """Return what a file looked like before it was hashed, its digest and its bytes."""
    with explained("reading", path), streaming.opened(path, follow=follow) as descriptor:
        status = os.fstat(descriptor)
        pass_over = streaming.Pass(descriptor, status.st_size)

        def advanced(count: int) -> None:
            pass_over.advanced(count)
            progress(count)

        found, size = hash_file(descriptor, digest.algorithm, progress=advanced)
    return status, found, size
