"""Takes names out of a hub cache beside loaders and pulls, which may be about to use them.

As with blobs: say so by a mark, look who holds what is meant, make sure that the mark still stands,
take it away. Whoever has taken a lease and waited out the marks finds what he holds, for good.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from modelkeep.errors import AccessError
from modelkeep.fs import durable, oserrors
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import freed_by
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.cache import HubCache
from modelkeep.hub.holds import hold_on
from modelkeep.hub.repo import Repo
from modelkeep.store.marks import Mark, announced
from modelkeep.store.store import Store

_LOT = 256  # blobs for which others wait at a time


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
    aside: list[tuple[Path, Path]] = []
    with announced(store.layout) as mark, explained("removing", folder):
        leases = store.leases.look()
        for commit in commits or ("",):  # a folder without snapshots may be held, too
            if hold := hold_on(hub, leases, repo, commit):
                return hold.reason
        stood_for = hub.refs(repo)
        # A branch that has moved to another commit since it was chosen stays with that.
        refs -= {
            name
            for name, commit in stood_for.items()
            if commit not in commits and hub.snapshot(repo, commit).is_dir()
        }
        reach("remove:announced")
        if mark.holds():
            for name in sorted(refs):
                durable.remove(folder / "refs" / name)
                reach("remove:ref")
        for commit in commits:
            for place in (hub.snapshot(repo, commit), folder / "trees" / f"{commit}.json"):
                if mark.holds():
                    reach("remove:hiding")
                    doomed = folder / durable.unique_name(".snapshot-")
                    with suppress(FileNotFoundError):  # another removal was quicker
                        place.rename(doomed)
                        aside.append((doomed, place))
                    reach("remove:hidden")
        if not mark.holds():
            # Stopped for so long that consumers went on: one of them may use all this.
            for doomed, place in aside:
                _put_back(doomed, place)
            for name in stood_for.keys() & refs - hub.refs(repo).keys():
                hub.write_ref(repo, name, stood_for[name])
            return "the removal was stopped for too long"
    for doomed, _ in aside:
        # A pull may put one more pointer in at this very moment; what then stays is swept later.
        _discard(doomed)
        reach("remove:snapshot")
    return None


def give_up(store: Store, hub: HubCache, repo: Repo, names: Iterable[str]) -> int:
    """Remove blobs from a repo's folder; return the bytes that only these names held.

    One stays while a snapshot points to it, or a lease on the repo is on its content: a pull that
    has begun since may count on it. All stay where a snapshot is closed to the caller.
    """
    names = list(names)
    freed = 0
    for start in range(0, len(names), _LOT):
        with announced(store.layout) as mark:
            leases = store.leases.look()
            if leases.unreadable:
                break
            held = {digest.etag for lease in leases.named(str(repo)) for digest in lease.digests}
            # Looked at after the leases: a pull gives up its lease when its snapshot stands.
            try:
                held |= pointed(hub, repo, hub.commits(repo))
            except AccessError:
                break
            reach("remove:looked")
            for name in names[start : start + _LOT]:
                if name not in held and mark.holds():
                    reach("remove:taking")
                    freed += _take_away(hub.folder(repo) / "blobs" / name, mark)
                    reach("remove:blob")
    return freed


def remove_folder(store: Store, hub: HubCache, repo: Repo) -> None:
    """Remove a repo's folder, unless a pull has begun the repo anew."""
    folder = hub.folder(repo)
    doomed = store.layout.tmp / durable.unique_name()
    with announced(store.layout) as mark, explained("removing", folder):
        leases = store.leases.look()
        if leases.unreadable or leases.named(str(repo)) or hub.commits(repo) or not mark.holds():
            return
        try:
            folder.rename(doomed)
        except FileNotFoundError:
            return  # another removal was quicker
        reach("remove:folder")
        if not mark.holds():
            _put_back(doomed, folder)
            return
    shutil.rmtree(doomed, ignore_errors=True)  # what is left is swept later


def pointed(hub: HubCache, repo: Repo, commits: Iterable[str]) -> frozenset[str]:
    """Return the names of the blobs that snapshots point to; AccessError where one is closed."""
    return frozenset(name for commit in commits for name in hub.pointers(repo, commit).values())


def _take_away(path: Path, mark: Mark) -> int:
    """Remove a name, unless the mark has gone by then; return the bytes that only it held."""
    doomed = durable.temporary_beside(path)
    with explained("removing", path):
        try:
            path.rename(doomed)
        except FileNotFoundError:
            return 0  # another removal was quicker
        reach("remove:taken")
        freed = 0
        if mark.holds():
            with suppress(FileNotFoundError):
                freed = freed_by(doomed.lstat())
        else:
            # Whoever lost patience counts on the name; one that he has made anew stays.
            with suppress(FileNotFoundError):  # another removal took the folder
                durable.name_once(doomed, path)
    durable.remove(doomed)
    return freed


def _put_back(doomed: Path, place: Path) -> None:
    try:
        doomed.rename(place)
    except FileNotFoundError:
        return
    except OSError as error:
        if not oserrors.is_refilled(error):
            raise
        _discard(doomed)  # a pull has made it anew


def _discard(doomed: Path) -> None:
    if doomed.is_dir():
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        durable.remove(doomed)
