"""Reads a cache as it lies there: contents by their names, what points to them, what is broken.

Nothing is hashed, nothing outside the cache is looked at: a link that leads out of it is reported,
never followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs.folders import entries
from modelkeep.fs.oserrors import explained
from modelkeep.fs.reading import read_small
from modelkeep.hub import tree
from modelkeep.hub.repo import Repo, is_commit
from modelkeep.hub.scan import INCOMPLETE
from modelkeep.hub.skipped import Skipped
from modelkeep.hub.tree import TreeFile
from modelkeep.store.digest import Digest

SHARED = "blobs"
"""The folder in which clients from 1.32 on keep one payload for several repos of a cache."""

_CLIENTS_OWN = frozenset(
    {SHARED, ".locks", "CACHEDIR.TAG", "version.txt", "version_diffusers_cache.txt"}
)


@dataclass(frozen=True, slots=True)
class Use:
    """A file of a repo at a commit that has some content."""

    repo: Repo
    commit: str
    path: str


@dataclass(slots=True)
class Found:
    """A regular file of a cache with the content that its name promises.

    `path` is relative to the cache; `uses` are the files of repos that it is.
    """

    path: str
    digest: Digest
    status: os.stat_result
    xet_hash: str | None = None
    uses: list[Use] = field(default_factory=list)


@dataclass(slots=True)
class CachedRepo:
    """A repo's folder: blobs by name (None: unusable), snapshots as {path: blob name or None}.

    None as a blob name is a file that stands in the snapshot itself.
    """

    repo: Repo
    blobs: dict[str, Found | None] = field(default_factory=dict)
    snapshots: dict[str, dict[str, str | None]] = field(default_factory=dict)
    plain: dict[tuple[str, str], Found] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    trees: dict[str, tuple[TreeFile, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dangling:
    """A pointer of a snapshot to a blob that is not there."""

    use: Use
    blob: str

    @property
    def name(self) -> str:
        """The pointer's path in the cache."""
        return f"{self.use.repo.folder}/snapshots/{self.use.commit}/{self.use.path}"


@dataclass(slots=True)
class Inventory:
    """Everything in a cache. `broken` is what stock scanners stumble over."""

    directory: Path
    repos: list[CachedRepo] = field(default_factory=list)
    files: dict[str, Found] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    broken: list[Skipped] = field(default_factory=list)
    dangling: list[Dangling] = field(default_factory=list)

    def unmended(self, mended: Collection[Dangling] = ()) -> tuple[Skipped, ...]:
        """Return what is broken, but for the pointers that lead somewhere now."""
        return (
            *self.broken,
            *(
                Skipped(
                    str(self.directory / pointer.name),
                    f"its content is missing; get it: modelkeep pull {pointer.use.repo}"
                    f"@{pointer.use.commit}",
                )
                for pointer in self.dangling
                if pointer not in mended
            ),
        )

    def skip(self, path: Path, reason: str) -> None:
        """Leave a path as it is."""
        self.skipped.append(Skipped(str(path), reason))


def take_stock(directory: Path) -> Inventory:
    """Read a hub cache by its real path. AccessError where its owner may not even list it."""
    stock = Inventory(directory)
    for entry in _entries(directory):
        path, repo = Path(entry.path), Repo.from_folder(entry.name)
        if repo is not None and entry.is_dir(follow_symlinks=False):
            try:
                _RepoReader(stock, repo, path).read()
            except ModelkeepError as error:
                stock.skip(path, error.message)
        elif entry.is_symlink():
            stock.skip(path, "it leads out of the cache, and is not followed")
        elif entry.name not in _CLIENTS_OWN:
            stock.skip(path, "no part of a cache; left as it is")
    return stock


class _RepoReader:
    def __init__(self, stock: Inventory, repo: Repo, folder: Path) -> None:
        self._stock = stock
        self._folder = folder
        self._cached = CachedRepo(repo)

    def read(self) -> None:
        """Take one repo's folder in."""
        self._stock.repos.append(self._cached)
        for entry in _entries(self._folder / "blobs"):
            self._blob(Path(entry.path))
        for commit in sorted(_names(self._folder / "snapshots")):
            if is_commit(commit):
                self._snapshot(commit)
        self._refs()

    def _blob(self, path: Path) -> None:
        if path.name.endswith(INCOMPLETE):
            self._stock.skip(path, "an unfinished download; left as it is")
            return
        if path.name.startswith("."):
            return
        self._cached.blobs[path.name] = self._content(path)

    def _content(self, path: Path) -> Found | None:
        digest, payload = Digest.from_etag(path.name), path
        if digest is None:
            self._stock.skip(path, "its name is no checksum, so nothing tells what it should hold")
            return None
        if path.is_symlink():
            payload = Path(os.path.realpath(path))
            if not payload.is_relative_to(self._stock.directory / SHARED):
                self._stock.skip(path, "it leads out of the cache, and is not followed")
                return None
            if not payload.exists():
                return None  # the pointers to it are reported
        found = self._file(payload, digest)
        if found is not None and payload != path:
            found.xet_hash = payload.name
        return found

    def _file(self, path: Path, digest: Digest) -> Found | None:
        name = path.relative_to(self._stock.directory).as_posix()
        if "\n" in name:
            self._stock.skip(path, "its name holds a line break")
            return None
        known = self._stock.files.get(name)
        if known is not None:
            if known.digest == digest:
                return known
            self._stock.skip(path, f"two blobs with different names lead to it, {digest} is one")
            return None
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None  # removed just now
        if not stat.S_ISREG(status.st_mode):
            self._stock.skip(path, "it is neither a file nor a link")
            return None
        return self._stock.files.setdefault(name, Found(name, digest, status))

    def _snapshot(self, commit: str) -> None:
        top = self._folder / "snapshots" / commit
        noted = self._note(commit)
        files: dict[str, str | None] = {}
        for path in walk(top):
            name = path.relative_to(top).as_posix()
            if not tree.is_path(name):
                self._stock.skip(path, "no file of a repo is named so")
            elif path.is_symlink():
                blob = self._pointed(path, commit, name)
                if blob is not None:
                    files[name] = blob
            elif not path.is_file():
                self._stock.skip(path, "it is neither a file nor a link")
            else:
                files[name] = None
                self._standing(path, commit, name, noted.get(name))
        self._cached.snapshots[commit] = files

    def _note(self, commit: str) -> dict[str, Digest]:
        try:
            text = read_small(self._folder / "trees" / f"{commit}.json")
        except OSError:
            return {}
        files = tree.load(text)
        if files is None:
            return {}
        self._cached.trees[commit] = files
        return {file.path: file.digest for file in files}

    def _pointed(self, path: Path, commit: str, name: str) -> str | None:
        """Return the blob a pointer leads to, and note the use."""
        target = Path(os.path.normpath(path.parent / path.readlink()))
        if target.parent != self._folder / "blobs":
            self._stock.skip(path, "it leads out of the cache, and is not followed")
            return None
        found = self._cached.blobs.get(target.name)
        if found is not None:
            found.uses.append(Use(self._cached.repo, commit, name))
        elif not target.exists():
            use = Use(self._cached.repo, commit, name)
            self._stock.dangling.append(Dangling(use, target.name))
            return None
        return target.name

    def _standing(self, path: Path, commit: str, name: str, digest: Digest | None) -> None:
        """Take in a file that stands in a snapshot itself, as where there are no links."""
        if digest is None:
            self._stock.skip(path, "nothing tells what it should hold; left as it is")
            return
        found = self._file(path, digest)
        if found is not None:
            found.uses.append(Use(self._cached.repo, commit, name))
            self._cached.plain[commit, name] = found

    def _refs(self) -> None:
        repo, refs = self._cached.repo, self._folder / "refs"
        for path in walk(refs):
            try:
                text = read_small(path).decode("ascii", "replace")
            except OSError:
                continue
            name = path.relative_to(refs).as_posix()
            commit = text.strip()
            if commit != text:
                self._break(path, "offline clients take what follows the commit for a part of it")
            if not is_commit(commit):
                self._break(path, "it holds no commit")
            elif commit not in self._cached.snapshots:
                self._break(path, f"it stands for {commit[:12]}, which is not here")
            else:
                self._cached.refs[name] = commit
        if not (self._folder / "snapshots").is_dir():
            self._break(self._folder, "it has no snapshots, so clients do not see it")
        elif not self._cached.refs and self._cached.snapshots:
            commit = max(self._cached.snapshots)
            reason = "no branch or tag stands for its snapshots, which load by commit alone"
            self._stock.broken.append(
                Skipped(str(self._folder), f"{reason}; online: modelkeep pull {repo}@{commit}")
            )

    def _break(self, path: Path, reason: str) -> None:
        repo = self._cached.repo
        self._stock.broken.append(
            Skipped(str(path), f"{reason}; mend it online: modelkeep pull {repo}")
        )


def walk(top: Path) -> Iterator[Path]:
    """Yield the files and links below a folder; links to folders are not entered."""
    folders = [top]
    while folders:
        for entry in _entries(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            else:
                yield Path(entry.path)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """List a folder, not one that a link leads to."""
    with explained("listing", directory):
        found = [] if directory.is_symlink() else entries(os.fspath(directory))
    return sorted(found, key=lambda entry: entry.name)


def _names(directory: Path) -> list[str]:
    return [entry.name for entry in _entries(directory) if entry.is_dir(follow_symlinks=False)]
