"""Takes names out of a hub cache beside loaders and pulls, which may be about to use them.

As with blobs: say so by a mark, look who holds what is meant, make sure that the mark still stands,
take it away. Whoever has taken a lease and waited out the marks finds what he holds, for good.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from modelkeep.fs import durable, oserrors
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import allocated_bytes
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.cache import HubCache
from modelkeep.hub.holds import hold_on
from modelkeep.hub.repo import Repo
from modelkeep.store.digest import Digest
from modelkeep.store.marks import announced, condemned
from modelkeep.store.store import Store


def hide(
    store: Store, hub: HubCache, repo: Repo, commits: Iterable[str], refs: Iterable[str]
) -> str | None:
    """Make refs, then snapshots, vanish at once each, so that no loader meets half of one.

    Returns why they stay, where they do. A crash leaves a snapshot that loads by its commit, or an
    unfinished name that is swept later.
    """
    hub.refuse_planted(repo)
    commits, refs = list(commits), set(refs)
    folder = hub.folder(repo)
    aside: dict[str, Path] = {}
    with announced(store.layout) as mark, explained("removing", folder):
        leases = store.leases.look()
        for commit in commits:
            if hold := hold_on(hub, leases, repo, commit):
                return hold.reason
        stood_for = hub.refs(repo)
        reach("remove:announced")
        if mark.holds():
            for name in sorted(refs):
                durable.remove(folder / "refs" / name)
                reach("remove:ref")
        for commit in commits:
            if mark.holds():
                aside[commit] = folder / durable.unique_name(".snapshot-")
                with suppress(FileNotFoundError):  # another removal was quicker
                    hub.snapshot(repo, commit).rename(aside[commit])
                reach("remove:hidden")
        if not mark.holds():
            # Stopped for so long that consumers went on: one of them may use all this.
            for commit, doomed in aside.items():
                _put_back(doomed, hub.snapshot(repo, commit))
            for name in stood_for.keys() & refs - hub.refs(repo).keys():
                hub.write_ref(repo, name, stood_for[name])
            return "the removal was stopped for too long"
        for commit in commits:
            durable.remove(folder / "trees" / f"{commit}.json")
    for doomed in aside.values():
        # A pull may put one more pointer in at this very moment; what then stays is swept later.
        shutil.rmtree(doomed, ignore_errors=True)
        reach("remove:snapshot")
    return None


def give_up(store: Store, hub: HubCache, repo: Repo, name: str) -> int:
    """Remove a blob from a repo's folder; return the bytes that only this name held.

    It stays where a lease on the repo is on its content: a pull that has just begun counts on it.
    """
    path = hub.folder(repo) / "blobs" / name
    digest = Digest.from_etag(name)
    if digest is None:
        return _remove(path)  # no checksum, so no lease can speak of it
    with condemned(store.layout, digest) as mark:
        if mark is None:
            return 0
        leases = store.leases.look()
        held = any(digest in lease.digests for lease in leases.named(str(repo)))
        reach("remove:condemned")
        return 0 if leases.unreadable or held or not mark.holds() else _remove(path)


def is_own(status: os.stat_result) -> bool:
    """Tell whether a file's bytes go with this one name of it."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _remove(path: Path) -> int:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    return allocated_bytes(status) if durable.remove(path) and is_own(status) else 0


def _put_back(doomed: Path, snapshot: Path) -> None:
    try:
        doomed.rename(snapshot)
    except FileNotFoundError:
        return
    except OSError as error:
        if not oserrors.is_refilled(error):
            raise
        shutil.rmtree(doomed, ignore_errors=True)  # a pull has made it anew


def remove_folder(folder: Path) -> None:
    """Remove a repo's folder, unless a pull begins the repo anew."""
    with explained("removing", folder):
        while folder.is_dir():
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                continue  # another removal was quicker with something in it
            except OSError as error:
                if not oserrors.is_refilled(error):
                    raise
                return  # a pull has begun the repo anew
