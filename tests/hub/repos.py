"""Repositories: commits with real git ids, branches, tags and who may see them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.hub.content import Blob, File, is_lfs

PLURALS = {"model": "models", "dataset": "datasets", "space": "spaces", "kernel": "kernels"}
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_HEX = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, eq=False)
class Commit:
    """An immutable tree of files. `directories` maps each directory to its git tree id."""

    id: str
    files: Mapping[str, File]
    directories: Mapping[str, str]
    parent: Commit | None
    message: str
    date: datetime
    depth: int


@dataclass(eq=False)
class Repository:
    """One repository of the stand-in. Safe to change while it is served."""

    id: str
    kind: str = "model"
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What stands before the id in `resolve` URLs."""
        return "" if self.kind == "model" else f"{PLURALS[self.kind]}/"

    @property
    def sha(self) -> str:
        """The commit `main` points to."""
        return self.branches["main"]

    def commit(
        self,
        files: Mapping[str, bytes | str | Path | Blob],
        *,
        branch: str = "main",
        message: str = "Upload files",
        update: bool = False,
        delete: Iterable[str] = (),
        lfs: Iterable[str] = (),
    ) -> str:
        """Commit a whole new tree, or with `update` add to the branch's; returns the commit id.

        `lfs` forces paths into LFS that the Hub's patterns would leave in git. A branch that does
        not exist yet starts from `main`. Names such as `refs/pr/1` are branches too.
        """
        head = self.branches.get(branch) or self.branches.get("main")
        parent = self.commits[head] if head else None
        forced = set(lfs)
        tree = dict(parent.files) if update and parent else {}
        for path, source in files.items():
            blob = _blob(source)
            tree[path] = File(path, blob, path in forced or is_lfs(path, blob.size))
        for path in delete:
            del tree[path]
        commit = _make(tree, parent, message)
        self.commits[commit.id] = commit
        self.branches[branch] = commit.id
        return commit.id

    def branch(self, name: str, revision: str = "main") -> None:
        self.branches[name] = self._required(revision)

    def tag(self, name: str, revision: str = "main") -> None:
        self.tags[name] = self._required(revision)

    def find(self, revision: str) -> Commit | None:
        """The commit that a branch, tag, commit id or unique short id names."""
        commit_id = self.branches.get(revision) or self.tags.get(revision)
        if commit_id:
            return self.commits[commit_id]
        if _HEX.fullmatch(revision):
            matches = [c for c in list(self.commits.values()) if c.id.startswith(revision)]
            return matches[0] if len(matches) == 1 else None
        return None

    def _required(self, revision: str) -> str:
        commit = self.find(revision)
        if commit is None:
            raise KeyError(revision)
        return commit.id


def _blob(source: bytes | str | Path | Blob) -> Blob:
    if isinstance(source, Blob):
        return source
    return Blob(source.encode() if isinstance(source, str) else source)


def _object_id(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def _make(files: dict[str, File], parent: Commit | None, message: str) -> Commit:
    directories = _directories(files)
    depth = parent.depth + 1 if parent else 0
    date = _EPOCH + timedelta(minutes=depth)
    author = f"stand-in <hub@example.org> {int(date.timestamp())} +0000"
    lines = [f"tree {directories['']}"]
    if parent:
        lines.append(f"parent {parent.id}")
    lines += [f"author {author}", f"committer {author}", "", message, ""]
    commit_id = _object_id("commit", "\n".join(lines).encode())
    ordered = {path: files[path] for path in sorted(files)}
    return Commit(commit_id, ordered, directories, parent, message, date, depth)


def _directories(files: Mapping[str, File]) -> dict[str, str]:
    """The git tree id of every directory; the root's name is the empty string."""
    entries: dict[str, list[tuple[str, str, str]]] = {"": []}
    for path, file in files.items():
        parent, _, name = path.rpartition("/")
        missing = parent
        while missing and missing not in entries:
            entries[missing] = []
            missing = missing.rpartition("/")[0]
        entries[parent].append(("100644", name, file.oid))
    ids: dict[str, str] = {}
    for directory in sorted(entries, key=lambda name: (-name.count("/") - bool(name), name)):
        # git sorts a tree as if the names of directories ended in a slash
        ordered = sorted(entries[directory], key=lambda e: e[1] + "/" * (e[0] == "40000"))
        data = b"".join(
            f"{mode} {name}\0".encode() + bytes.fromhex(oid) for mode, name, oid in ordered
        )
        ids[directory] = _object_id("tree", data)
        if directory:
            parent, _, name = directory.rpartition("/")
            entries[parent].append(("40000", name, ids[directory]))
    return dict(sorted(ids.items()))
