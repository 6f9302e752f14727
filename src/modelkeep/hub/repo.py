"""Names of repos, as people write them, as URLs spell them and as the cache folds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from modelkeep.errors import InvalidRepoError

DEFAULT_REVISION = "main"

# The Hub's own rule: letters, digits, `-`, `_`, `.`; no `--` or `..`, since `--` folds `/`.
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_./+-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_LENGTH = 96


class RepoType(StrEnum):
    """The four kinds of repos on the Hub."""

    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"
    KERNEL = "kernel"

    @property
    def plural(self) -> str:
        """`models`, `datasets`, …: how folders and API routes spell the kind."""
        return f"{self.value}s"


@dataclass(frozen=True, slots=True, order=True)
class Repo:
    """A repo: its kind and its id, `org/name` or, for a few old ones, `name`."""

    type: RepoType
    id: str

    @property
    def folder(self) -> str:
        """The repo's folder in a stock cache, such as `models--org--name`."""
        return "--".join([self.type.plural, *self.id.split("/")])

    @property
    def url_path(self) -> str:
        """The repo's path below the endpoint: models stand at the top, the others in a section."""
        return self.id if self.type is RepoType.MODEL else f"{self.type.plural}/{self.id}"

    @classmethod
    def from_folder(cls, name: str) -> Repo | None:
        """Read a cache folder's name; None where it is not a repo."""
        plural, _, rest = name.partition("--")
        for kind in RepoType:
            if kind.plural == plural and rest:
                return cls(kind, "/".join(rest.split("--")))
        return None

    def matches(self, pattern: str) -> bool:
        """Match a shell pattern against the full id or the name alone, kind prefix included."""
        names = (self.id, self.id.rpartition("/")[2], str(self))
        return any(fnmatchcase(name, pattern) for name in names)

    def __str__(self) -> str:
        return self.url_path


def parse(text: str, *, type: RepoType | None = None) -> tuple[Repo, str | None]:  # noqa: A002 - the Hub's word
    """Read `org/name[@revision]`, `datasets/org/name`, `hf://…`; return the repo and the revision.

    Raises InvalidRepoError for anything that is not a name the Hub could have, among them all that
    would leave the keep as a path.
    """
    name, at, revision = text.removeprefix("hf://").partition("@")
    kind = type or RepoType.MODEL
    parts = name.split("/")
    for candidate in RepoType:
        if parts[0] == candidate.plural and len(parts) > 1:
            if type not in (None, candidate):
                raise InvalidRepoError(
                    f"`{text}` is a {candidate}, not a {type}", hint=f"leave out --type {type}"
                )
            kind, parts = candidate, parts[1:]
            break
    if not 1 <= len(parts) <= 2 or not all(_is_part(part) for part in parts):
        raise InvalidRepoError(
            f"`{_printable(text)}` is not a repo name",
            hint="write org/name, org/name@revision, datasets/org/name or spaces/org/name",
        )
    if at:
        check_revision(revision)
    return Repo(kind, "/".join(parts)), revision or None


def check_revision(revision: str) -> str:
    """Return a revision that is safe as a ref's file name; InvalidRepoError for another."""
    if not _REVISION.fullmatch(revision) or any(
        part in ("", ".", "..") for part in revision.split("/")
    ):
        raise InvalidRepoError(
            f"`{_printable(revision)}` is not a revision",
            hint="a branch, a tag or a 40-digit commit is",
        )
    return revision


def is_commit(revision: str) -> bool:
    """Tell whether a revision is a full commit id, which never moves."""
    return _COMMIT.fullmatch(revision) is not None


def _is_part(part: str) -> bool:
    return (
        len(part) <= _MAX_LENGTH
        and _PART.fullmatch(part) is not None
        and "--" not in part
        and ".." not in part
    )


def _printable(text: str) -> str:
    """Return text that stays on one line and does nothing to a terminal."""
    return text if text.isprintable() else repr(text)[1:-1]
