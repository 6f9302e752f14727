"""What callers of the library say, read and checked: repos, choices, patterns."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from modelkeep.errors import UsageError
from modelkeep.hub.repo import Repo, RepoType, check_revision, parse

_Choice = TypeVar("_Choice", bound=StrEnum)


def asked(
    repo: str | Repo,
    revision: str | None,
    type: str | None,  # noqa: A002 - the Hub's word
) -> tuple[Repo, str | None]:
    """Return the repo and the revision that a caller named, in the name or beside it."""
    if isinstance(repo, Repo):
        name, named = repo, None
    elif not isinstance(repo, str):
        raise UsageError(f"a repo is named by a string such as `org/name`, not by {repo!r}")
    else:
        name, named = parse(repo, type=chosen(RepoType, "type", type) if type else None)
    if revision is not None:
        check_revision(revision)
        if named not in (None, revision):
            raise UsageError(f"`{repo}` names a revision, and `{revision}` is another")
    return name, revision or named


def chosen(choices: type[_Choice], name: str, value: str) -> _Choice:
    """Return one of the choices; UsageError, with all of them, for another value."""
    try:
        return choices(value)
    except ValueError as error:
        raise UsageError(
            f"`{name}` cannot be `{value}`", hint=f"one of: {', '.join(choices)}"
        ) from error


def several(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return patterns; a string is one."""
    return (value,) if isinstance(value, str) else tuple(value)
