"""Questions to the Hub: which commit, which files.

What `Api` gets no plain answer to, the Hub's client is asked. It is imported only then, since that
takes longer than most commands. Its exceptions differ between 0.36, 1.x and 2.x (requests, httpx,
httpx2) and are translated here.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from modelkeep.errors import (
    AccessError,
    GatedError,
    ModelkeepError,
    NotFoundError,
    OfflineError,
    SettingsError,
    UpstreamError,
    UsageError,
)
from modelkeep.hub.repo import Repo, RepoType, is_commit
from modelkeep.hub.tree import TreeFile
from modelkeep.store.digest import GIT_SHA1, SHA256, Digest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from modelkeep.hub.api import Api

_Answer = TypeVar("_Answer")

_TRIES = 4
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 60.0
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_LOGGED_IN_BY = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE")


class Upstream:
    """A Hub-compatible endpoint as one caller sees it.

    `token` None means the token the caller has logged in with, if any. It is given to this endpoint
    and to nobody else.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        token: str | None = None,
        on_wait: Callable[[str, float], None] | None = None,
    ) -> None:
        with client_starting():
            from huggingface_hub import constants

        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self.public = _without_credentials(self.endpoint)
        """The endpoint as people, side files and logs may see it."""
        self.token = token or _login(Path(constants.HF_TOKEN_PATH))
        self._on_wait = on_wait
        self._plain: Api | None = None
        if self.public == self.endpoint and not constants.HF_HUB_OFFLINE:
            from modelkeep.hub.api import Api

            self._plain = Api(self.endpoint, self.token)

    @cached_property
    def _api(self) -> HfApi:
        with client_starting():
            from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self.token or False, library_name="modelkeep")

    def commit(self, repo: Repo, revision: str) -> str:
        """Return the commit a branch, tag or commit stands for now.

        Raises NotFoundError, GatedError or UpstreamError.
        """
        if repo.type is RepoType.KERNEL and not hasattr(self._api, "kernel_info"):
            raise UsageError(
                "the installed huggingface_hub does not know kernels",
                hint="upgrade it: pip install 'huggingface_hub>=1.33'",
            )
        if self._plain and (found := self._plain.commit(repo, revision)):
            return found
        info: Any = self._ask(
            repo,
            revision,
            lambda: self._api.repo_info(repo.id, revision=revision, repo_type=repo.type.value),
        )
        commit = str(info.sha)
        if not is_commit(commit):  # it becomes the name of a folder
            raise UpstreamError(f"{self._name} names no commit for `{repo}@{revision}`")
        return commit

    def tree(self, repo: Repo, commit: str) -> tuple[TreeFile, ...]:
        """Return every file of a commit, with the name of its content. Errors as for `commit`."""
        if self._plain and (files := self._plain.tree(repo, commit)) is not None:
            return files
        entries: list[Any] = self._ask(
            repo,
            commit,
            lambda: list(
                self._api.list_repo_tree(
                    repo.id, recursive=True, revision=commit, repo_type=repo.type.value
                )
            ),
        )
        try:
            return tuple(_tree_file(entry) for entry in entries if hasattr(entry, "blob_id"))
        except (ValueError, TypeError) as error:
            raise self._malformed(repo) from error

    def earlier_commit(self, repo: Repo, revision: str) -> str | None:
        """Return the commit before a revision, None where it is the first."""
        commits: list[Any] = self._ask(
            repo,
            revision,
            lambda: list(
                self._api.list_repo_commits(repo.id, revision=revision, repo_type=repo.type.value)
            ),
        )
        return str(commits[1].commit_id) if len(commits) > 1 else None

    def url(self, repo: Repo, commit: str, path: str) -> str:
        """Return where a file of a commit is fetched."""
        return f"{self.endpoint}/{repo.url_path}/resolve/{quote(commit, safe='')}/{quote(path)}"

    @property
    def _name(self) -> str:
        return urlsplit(self.public).netloc

    def _ask(self, repo: Repo, revision: str, question: Callable[[], _Answer]) -> _Answer:
        """Ask, and ask again where the answer may change by itself."""
        with client_starting():
            from huggingface_hub import errors

        # In 0.36 the transport's errors are OSErrors, later they are the library's HTTPError.
        transport: tuple[type[BaseException], ...] = (vars(errors)["HTTPError"], OSError)
        for attempt in range(1, _TRIES + 1):
            try:
                return question()
            except errors.OfflineModeIsEnabled as error:
                raise OfflineError(
                    f"`{repo}` cannot be asked for: offline mode is on",
                    hint="unset HF_HUB_OFFLINE, or use what `modelkeep ls` shows",
                ) from error
            except errors.HFValidationError as error:
                raise UsageError(str(error)) from error
            except transport as error:
                status, headers = _response(error)
                if attempt == _TRIES or not _may_pass(status, error):
                    raise self._translated(error, repo, revision, status) from error
                self._wait(attempt, status, headers)
            except (ValueError, KeyError, TypeError) as error:
                raise self._malformed(repo) from error
        raise AssertionError("the last try returns or raises")

    def _malformed(self, repo: Repo) -> UpstreamError:
        return UpstreamError(
            f"{self._name} does not answer as a Hub does when asked for `{repo}`",
            hint="a proxy or a login page may stand in between; check HF_ENDPOINT",
        )

    def _wait(self, attempt: int, status: int | None, headers: Any) -> None:
        seconds = _FIRST_WAIT_S * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        if headers is not None and str(headers.get("Retry-After", "")).isdigit():
            seconds = float(headers["Retry-After"])
        seconds = min(seconds, _LONGEST_WAIT_S)
        if self._on_wait:
            self._on_wait(f"{self._name} answered {status or 'nothing'}", seconds)
        time.sleep(seconds)

    def _translated(
        self, error: BaseException, repo: Repo, revision: str, status: int | None
    ) -> ModelkeepError:
        from huggingface_hub import errors

        if isinstance(error, errors.GatedRepoError) or status == 403:
            return GatedError(
                f"`{repo}` is gated: {self._name} does not show it to "
                + ("this token" if self.token else "callers without a token"),
                hint="ask for access on its page, then log in with `hf auth login` or set HF_TOKEN",
            )
        if status == 401 and self.token:
            # Known tokens are told 403 or 404, so that this one cannot even see public repos.
            return AccessError(
                f"{self._name} does not know this token, perhaps because it has expired",
                hint="log in again with `hf auth login`, or log out: public repos need no token",
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return NotFoundError(
                f"`{repo}` has no revision `{revision}` on {self._name}",
                hint="leave out `@…` for the main branch",
            )
        if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
            return NotFoundError(
                f"there is no {repo.type} `{repo.id}` on {self._name}, or it is private",
                hint="check the spelling; a private repo needs `hf auth login` or HF_TOKEN"
                + (
                    f"; a data set is datasets/{repo.id}, a space spaces/{repo.id}"
                    if repo.type is RepoType.MODEL
                    else ""
                ),
            )
        if status is not None:
            return UpstreamError(
                f"{self._name} answered {status} for `{repo}`", hint="try again in a while"
            )
        return UpstreamError(
            f"cannot reach {self._name}: {_cause(error)}",
            hint="check the network or HF_ENDPOINT; what the keep has works without: modelkeep ls",
        )


@contextmanager
def client_starting() -> Iterator[None]:
    """Import the Hub's client in this block: SettingsError where its variables make it fail."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(
            f"huggingface_hub cannot read its variables: {error}",
            hint="look for a number among: env | grep ^HF_",
        ) from error


def _login(token_file: Path) -> str | None:
    """Return the token the caller has logged in with, None where there is no trace of a login."""
    # Notebooks have ways of their own.
    if not (
        any(os.environ.get(name) for name in _LOGGED_IN_BY)
        or token_file.exists()
        or "IPython" in sys.modules
    ):
        return None
    with client_starting():
        from huggingface_hub import get_token

    return get_token()


def _without_credentials(endpoint: str) -> str:
    """Return an endpoint's address without user and password; SettingsError where it is none."""
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        usable = False
    if not usable:
        raise SettingsError(
            f"`{endpoint.rpartition('@')[2]}` is not the address of a Hub",
            hint="HF_ENDPOINT, or `upstream` in keep.toml, is http(s)://host[:port]",
        )
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _may_pass(status: int | None, error: BaseException) -> bool:
    """Tell whether asking again may help: not where nobody listens or the name is unknown."""
    if status is not None:
        return status in _TRANSIENT
    return not isinstance(_innermost(error), ConnectionRefusedError | socket.gaierror)


def select(
    files: Iterable[TreeFile], include: Sequence[str], exclude: Sequence[str]
) -> tuple[TreeFile, ...]:
    """Return the files that match a pattern of `include`, if there are any, and none of `exclude`.

    Patterns mean what they mean to `hf download`.
    """
    if not include and not exclude:
        return tuple(files)
    # Public by its documentation; the package only forgets to say so to type checkers.
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    return tuple(
        filter_repo_objects(
            files,
            allow_patterns=list(include) or None,
            ignore_patterns=list(exclude) or None,
            key=lambda file: file.path,
        )
    )


def _response(error: BaseException) -> tuple[int | None, Any]:
    """Return the status and the headers of the answer behind an error, if there was one."""
    response = getattr(error, "response", None)
    return (None, None) if response is None else (int(response.status_code), response.headers)


def _innermost(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a transport error, without URLs, on one line."""
    innermost = _innermost(error)
    reason = getattr(innermost, "strerror", None) or type(innermost).__name__
    return str(reason).lower()


def _tree_file(entry: Any) -> TreeFile:
    if entry.lfs is None:
        digest = Digest(GIT_SHA1, str(entry.blob_id))
        size = int(entry.size)
    else:
        digest = Digest(SHA256, str(entry.lfs.sha256))
        size = int(entry.lfs.size)
    xet_hash = getattr(entry, "xet_hash", None)
    return TreeFile(str(entry.path), size, digest, str(entry.blob_id), xet_hash)
