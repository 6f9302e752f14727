"""The errors modelkeep raises on purpose, in one tree.

    ModelkeepError                     exit 1
    ├── FindingError                   exit 1   something was looked for and the answer is bad
    │   ├── NotFoundError                       no such repo, revision or file
    │   └── CorruptError                        bytes that are not what their name says
    ├── UsageError                     exit 2   the request itself makes no sense
    │   ├── InvalidRepoError                    not a repo name, or one that leaves the keep
    │   ├── SettingsError                       keep.toml or a variable cannot be used
    │   └── UnknownFormatError                  a keep of a newer, older or foreign format
    ├── BusyError                      exit 3   held by a lock or a lease of somebody else
    ├── AccessError                    exit 4   the caller may not
    │   ├── ReadOnlyError                       the keep cannot be written
    │   └── GatedError                          upstream wants a token, or another one
    ├── UpstreamError                  exit 5   the network or the endpoint failed
    │   └── OfflineError                        a variable says to stay offline
    └── NoSpaceError                   exit 6   the file system or the quota is full

What only ends a run (a question answered with no, a step of the demo, a command that `exec` cannot
start) is derived from the root where it is raised.

Errors carry facts as attributes; the command line turns them into one `error:` line, one `hint:`
line and, with `--format json`, one document. A mistake of modelkeep itself is not in this tree and
keeps its traceback.
"""

from __future__ import annotations

import os


class ModelkeepError(Exception):
    """Base of all errors raised on purpose.

    `message` says what happened to what, without a final full stop. `hint` is what to do about it.
    `path` and `errno` name the file system call that failed, where one did.
    """

    kind: str = "error"
    exit_code: int = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        path: str | os.PathLike[str] | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = None if path is None else os.fspath(path)
        self.errno = errno


class FindingError(ModelkeepError):
    """A check found something bad, or found nothing."""

    kind = "finding"


class NotFoundError(FindingError):
    """There is no such repo, revision or file, in the keep or upstream."""

    kind = "not_found"


class CorruptError(FindingError):
    """Bytes do not have the digest or the size their name promises."""

    kind = "corrupt"

    def __init__(
        self,
        message: str,
        *,
        expected: str,
        got: str,
        hint: str | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, path=path)
        self.expected = expected
        self.got = got


class UsageError(ModelkeepError):
    """The request cannot be carried out as it was put."""

    kind = "usage"
    exit_code = 2


class InvalidRepoError(UsageError):
    """A name is not `org/name[@revision]`, or would leave the keep."""

    kind = "invalid_repo"


class SettingsError(UsageError):
    """`keep.toml` or an environment variable holds something that cannot be used."""

    kind = "settings"


class UnknownFormatError(UsageError):
    """The keep has a format this version does not know; nothing in it was touched."""

    kind = "unknown_format"


class BusyError(ModelkeepError):
    """Somebody else holds a lock or a lease on it."""

    kind = "busy"
    exit_code = 3


class AccessError(ModelkeepError):
    """The file system or upstream refuses this caller."""

    kind = "permission"
    exit_code = 4


class ReadOnlyError(AccessError):
    """The keep is on a read-only mount, or belongs to somebody who lets nobody write."""

    kind = "read_only"


class GatedError(AccessError):
    """Upstream shows this repo only to tokens that were granted access."""

    kind = "gated"


class UpstreamError(ModelkeepError):
    """The endpoint cannot be reached, or keeps failing."""

    kind = "upstream"
    exit_code = 5


class OfflineError(UpstreamError):
    """A variable says to stay offline; nothing was tried."""

    kind = "offline"


class NoSpaceError(ModelkeepError):
    """Not enough room on the file system, or the quota is used up."""

    kind = "no_space"
    exit_code = 6
