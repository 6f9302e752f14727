"""Who may see what, and how the Hub words a refusal."""

from __future__ import annotations

from dataclasses import dataclass

from tests.hub.messages import Request, Response, error_response
from tests.hub.repos import Repository


@dataclass(frozen=True)
class Token:
    """A known token and the ids of the private and gated repositories it opens."""

    value: str
    user: str
    grants: frozenset[str]


class Access:
    """Tokens and their grants. An unknown token is refused even where none is needed."""

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {}

    def invalid(self, request: Request) -> Response | None:
        if request.token is None or request.token in self.tokens:
            return None
        return error_response(401, "Invalid credentials in Authorization header")

    def granted(self, repo: Repository, request: Request) -> bool:
        token = self.tokens.get(request.token or "")
        return token is not None and repo.id in token.grants

    def visible(self, repo: Repository | None, request: Request) -> bool:
        return repo is not None and (not repo.private or self.granted(repo, request))

    def not_found(self, request: Request) -> Response:
        """A stranger is not told whether a repository is private or does not exist."""
        if request.token is None:
            return error_response(401, "Invalid username or password.", code="RepoNotFound")
        return error_response(404, "Repository not found", code="RepoNotFound")

    def gate(self, repo: Repository, request: Request) -> Response | None:
        """The refusal to hand out a gated repository's files, if it is refused."""
        if not repo.gated or self.granted(repo, request):
            return None
        what = f"Access to {repo.kind} {repo.id} is restricted"
        if request.token is None:
            message = f"{what}. You must have access to it and be authenticated to access it."
            return error_response(401, f"{message} Please log in.", code="GatedRepo")
        message = (
            f"{what} and you are not in the authorized list. Visit its page to ask for access."
        )
        return error_response(403, message, code="GatedRepo")
