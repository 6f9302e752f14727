"""The stock Hub cache on disk, as huggingface_hub 0.36 to 2.4 read it.

`models--org--name/{blobs,snapshots/<commit>,refs,trees}`: a snapshot's files are relative symlinks
to blobs, a ref is a file holding the 40 digits of a commit and nothing else (offline clients take a
newline for a part of it), `trees/<commit>.json` lists what a commit should hold.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable, folders, oserrors, sharing
from modelkeep.fs.oserrors import explained
from modelkeep.fs.syncpoint import reach
from modelkeep.hub import tree
from modelkeep.hub.repo import Repo, is_commit
from modelkeep.hub.tree import TreeFile
from modelkeep.store.digest import Digest
from modelkeep.store.sweep import DAY_NS, Leftover, look_into, remove_dead

_STAGING = ".snapshot-"
_SHORT = 7  # digits of a commit that tell it from others
_LEFTOVERS = (_STAGING, durable.TEMPORARY)


class HubCache:
    """One stock cache directory, ours or another. Safe beside stock clients working in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def create(self) -> None:
        """Make the directory where it is missing, as the umask has it.

        Empty: clients before 1.0 warn of everything that is not a repo, backup tags included.
        """
        durable.make_dirs(self.directory, inherit=False)

    def folder(self, repo: Repo) -> Path:
        """Return the folder of a repo."""
        return self.directory / repo.folder

    def refuse_planted(self, repo: Repo) -> None:
        """Raise AccessError where another user has put a link in the place of a repo's folders."""
        for name in ("blobs", "snapshots", "refs", "trees"):
            sharing.refuse_planted(self.directory, self.folder(repo) / name)

    def make_folder(self, repo: Repo, *parts: str) -> Path:
        """Make a folder in a repo's, or that folder itself, where it is missing; return it.

        AccessError where another user has put a link in its way, which could lead anywhere.
        """
        folder = self.folder(repo).joinpath(*parts)
        sharing.refuse_planted(self.directory, folder)
        durable.make_dirs(folder)
        return folder

    def blob_name(self, repo: Repo, digest: Digest) -> str:
        """Return a blob's path inside the cache directory."""
        return f"{repo.folder}/blobs/{digest.etag}"

    def snapshot(self, repo: Repo, commit: str) -> Path:
        """Return the folder in which a commit's files stand under their own names."""
        return self.folder(repo) / "snapshots" / commit

    def repos(self) -> Iterator[Repo]:
        """Yield the repos that have a folder here, by folder name."""
        try:
            with explained("listing the cache", self.directory):
                names = sorted(path.name for path in self.directory.iterdir())
        except FileNotFoundError:
            return
        for name in names:
            repo = Repo.from_folder(name)
            if repo is not None:
                yield repo

    def refs(self, repo: Repo) -> dict[str, str]:
        """Return the repo's branches and tags and the commit each stands for.

        AccessError where the caller is not let into the repo's folder.
        """
        refs = self.folder(repo) / "refs"
        found = {}
        with explained("looking at a repo", refs):
            for base, _, names in os.walk(refs, onerror=unless_gone):
                for name in names:
                    path = Path(base, name)
                    try:
                        commit = path.read_text(encoding="ascii", errors="replace").strip()
                    except OSError:
                        continue
                    if is_commit(commit):
                        found[path.relative_to(refs).as_posix()] = commit
        return dict(sorted(found.items()))

    def commits(self, repo: Repo) -> list[str]:
        """Return the commits that have a snapshot, complete or not. AccessError as for `refs`."""
        snapshots = self.folder(repo) / "snapshots"
        names: list[str] = []
        gone = suppress(FileNotFoundError, NotADirectoryError)
        with explained("looking at a repo", snapshots), gone:
            names = [path.name for path in snapshots.iterdir()]
        return sorted(name for name in names if is_commit(name))

    def resolve(self, repo: Repo, revision: str) -> str | None:
        """Return the commit a revision stands for here; None where the cache does not know it.

        Where no branch or tag is called so, the first digits of one commit stand for it, seven or
        more.
        """
        if is_commit(revision):
            return revision if self.snapshot(repo, revision).is_dir() else None
        named = self.refs(repo).get(revision)
        if named is not None or len(revision) < _SHORT:
            return named
        begun = [commit for commit in self.commits(repo) if commit.startswith(revision)]
        return begun[0] if len(begun) == 1 else None

    def tree(self, repo: Repo, commit: str) -> tuple[TreeFile, ...] | None:
        """Return what a commit should hold; None where that was not noted or cannot be read."""
        try:
            return tree.load(self._tree_path(repo, commit).read_bytes())
        except OSError:
            return None

    def snapshot_files(self, repo: Repo, commit: str) -> dict[str, Path]:
        """Return the files of a snapshot by their path in the repo, dangling links left out.

        AccessError where a folder of it is closed to the caller.
        """
        top = self.snapshot(repo, commit)
        found = {}
        with explained("looking at a revision", top):
            for base, _, names in os.walk(top, onerror=unless_gone):
                for name in names:
                    path = Path(base, name)
                    if path.exists():
                        found[path.relative_to(top).as_posix()] = path
        return dict(sorted(found.items()))

    def pointers(self, repo: Repo, commit: str) -> dict[str, str]:
        """Return the links of a snapshot, by their path in the repo: the names they end in.

        Those of blobs, dangling or not. AccessError as for `snapshot_files`.
        """
        top = f"{self.snapshot(repo, commit)}"
        found = {}
        with explained("looking at a revision", Path(top)):
            for path in folders.walk(top)[0]:
                with suppress(FileNotFoundError, NotADirectoryError):  # a removal was quicker
                    found[path] = os.path.basename(os.readlink(f"{top}/{path}"))  # noqa: PTH115, PTH119 - many
        return found

    def missing(self, repo: Repo, commit: str) -> list[TreeFile] | None:
        """Return the files a snapshot lacks; None where nobody noted what it should hold.

        AccessError as for `snapshot_files`.
        """
        files = self.tree(repo, commit)
        if files is None:
            return None
        top = self.snapshot(repo, commit)
        with explained("looking at a revision", top):
            return [file for file in files if not (top / file.path).exists()]

    def write_snapshot(self, repo: Repo, commit: str, files: Iterable[TreeFile]) -> None:
        """Make the files of a commit stand in their snapshot, as links to blobs that are there.

        A snapshot that is not there yet appears whole, by one rename. Into one that is, each file
        appears by itself, atomically.
        """
        files = list(files)
        target = self.snapshot(repo, commit)
        self.make_folder(repo, "snapshots")
        if not target.exists():
            remove_dead(self.folder(repo), self.leftovers(repo))
            staging = self.folder(repo) / f"{_STAGING}{durable.unique_name()}"
            with explained("writing the snapshot", target):
                try:
                    for file in files:
                        _point(staging / file.path, file, spare=staging / durable.unique_name())
                    for base, _, _ in os.walk(staging):
                        durable.sync_dir(Path(base))
                    reach("snapshot:staged")
                    if self._move(staging, target):
                        return
                finally:
                    shutil.rmtree(staging, ignore_errors=True)
        with explained("writing the snapshot", target):
            for file in files:
                sharing.refuse_planted(self.directory, (target / file.path).parent)
                spare = self.folder(repo) / f"{_STAGING}{durable.unique_name()}"
                _point(target / file.path, file, spare=spare)
                reach("snapshot:pointed")

    def write_tree(self, repo: Repo, commit: str, files: Iterable[TreeFile]) -> None:
        """Note what a commit should hold, readable by everybody who can read the cache."""
        self.make_folder(repo, "trees")
        self._write(repo, self._tree_path(repo, commit), tree.dump(files))

    def write_ref(self, repo: Repo, name: str, commit: str) -> None:
        """Let a branch or tag stand for a commit."""
        path = self.folder(repo) / "refs" / name
        self.make_folder(repo, *path.parent.relative_to(self.folder(repo)).parts)
        self._write(repo, path, commit.encode())

    def make_lock_folder(self, repo: Repo) -> None:
        """Make the folder of a repo's locks, where this caller can; modelkeep locks nothing in it.

        Online, clients before 1.0 make it before they look whether they have a file: without it
        they would fail in a cache they cannot write.
        """
        folder = self.directory / ".locks" / repo.folder
        with suppress(ModelkeepError):
            sharing.refuse_planted(self.directory, folder)
            durable.make_dirs(folder)

    def leads_away(self, repo: Repo) -> bool:
        """Tell whether a repo's folder, or one in it, is a link: what is there is not ours."""
        names = ("", "blobs", "snapshots", "refs", "trees")
        return any((self.folder(repo) / name).is_symlink() for name in names)

    def leftovers(self, repo: Repo, *, in_blobs: bool = True) -> Iterator[Leftover]:
        """Yield what our own writers may have left in a repo's folder.

        `in_blobs` may be False for who knows that nothing unfinished is among the blobs.
        """
        top = self.folder(repo)
        for folder in (top, top / "blobs") if in_blobs else (top,):
            yield from look_into(
                folder,
                kind="leftover",
                lifetime_ns=DAY_NS,
                reason="left by a process that ended",
                chosen=lambda name: name.startswith(_LEFTOVERS),
            )

    def _write(self, repo: Repo, path: Path, data: bytes) -> None:
        """Write a small file that everybody may read, unless it stands there already."""
        try:
            if path.read_bytes() == data and path.stat().st_mode & 0o044 == 0o044:
                return
        except OSError:
            pass  # missing, or a stock client's that only its owner may read
        # Unfinished writes lie where no scanner takes them for a ref.
        durable.write_bytes(path, data, scratch=self.folder(repo))

    def _tree_path(self, repo: Repo, commit: str) -> Path:
        return self.folder(repo) / "trees" / f"{commit}.json"

    def _move(self, staging: Path, target: Path) -> bool:
        try:
            staging.rename(target)
        except OSError as error:
            if target.is_dir() or oserrors.is_refilled(error):
                return False  # another process was quicker; add what it may lack
            raise
        durable.sync_dir(target.parent)
        reach("snapshot:published")
        return True


def unless_gone(error: OSError) -> None:
    """Raise what keeps `os.walk` out of a folder, unless that was removed meanwhile."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _point(pointer: Path, file: TreeFile, *, spare: Path) -> None:
    """Make `pointer` a relative link to the file's blob; leave one that already is.

    `spare` is a name outside the snapshot, where a link may stand before it replaces a file.
    """
    depth = file.path.count("/") + 2
    target = "../" * depth + f"blobs/{file.digest.etag}"
    if not pointer.parent.is_dir():
        durable.make_dirs(pointer.parent)
    try:
        pointer.symlink_to(target)
    except FileExistsError:
        if pointer.is_symlink() and str(pointer.readlink()) == target:
            return
        spare.symlink_to(target)
        reach("snapshot:spare")
        spare.replace(pointer)
