"""Which route a request takes."""

from __future__ import annotations

import re
from urllib.parse import unquote

from tests.hub import api
from tests.hub.access import Access
from tests.hub.files import SignedLinks, resolve, resolve_cached
from tests.hub.messages import Request, Response, error_response, json_response
from tests.hub.repos import PLURALS, Repository
from tests.hub.xet import Xet

_KINDS = {plural: kind for kind, plural in PLURALS.items()}
_RESOLVE = re.compile(
    r"/(?:(?P<plural>datasets|spaces|kernels)/)?(?P<id>[^/]+(?:/[^/]+)?)"
    r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)
_READS = ("GET", "HEAD")


class Router:
    """Answers every request of the hub's own origin."""

    def __init__(self, access: Access, links: SignedLinks, xet: Xet) -> None:
        self.access = access
        self.links = links
        self.xet = xet
        self.repos: dict[tuple[str, str], Repository] = {}
        self.moved: dict[tuple[str, str], str] = {}
        self.page_size = 1000
        self.cache_route = False

    def answer(self, request: Request) -> Response:
        refused = self.access.invalid(request)
        if refused is not None:
            return refused
        if request.path.startswith("/api/"):
            return self._api(request)
        match = _RESOLVE.fullmatch(request.path)
        if match is None or request.method not in _READS:
            return error_response(404, "Sorry, we can't find the page you are looking for.")
        kind = _KINDS[match["plural"] or "models"]
        found = self._find(request, kind, unquote(match["id"]))
        if isinstance(found, Response):
            return found
        refused = self.access.gate(found, request)
        if refused is not None:
            return refused
        revision, path = match["revision"], match["path"]
        response = resolve(
            *(request, found, revision, path, self.links), by_cache_route=self.cache_route
        )
        return self.xet.announce(request, found, revision, path, response)

    def _api(self, request: Request) -> Response:
        segments = request.path.removeprefix("/api/").split("/")
        if segments[0] == "agent-harnesses":
            return json_response({"standardEnvVars": [], "harnesses": {}})
        if segments[0] == "whoami-v2":
            return self._whoami(request)
        cached = segments[0] == "resolve-cache"
        plural, *rest = segments[1:] if cached else segments
        if plural not in _KINDS or not rest:
            return error_response(404, "Not found")
        kind = _KINDS[plural]
        # a known name of one part wins: `gpt2/revision/main` is not a repository of org `gpt2`
        short = (kind, unquote(rest[0])) in self.repos or len(rest) == 1
        count = 1 if short else 2
        found = self._find(request, kind, unquote("/".join(rest[:count])))
        if isinstance(found, Response):
            return found
        route, *arguments = rest[count:] or ["revision", "main"]
        if cached:
            return self.access.gate(found, request) or resolve_cached(
                request, found, route, "/".join(arguments)
            )
        return self._repo_route(request, found, route, arguments)

    def _repo_route(
        self, request: Request, repo: Repository, route: str, arguments: list[str]
    ) -> Response:
        first = arguments[0] if arguments else "main"
        rest = "/".join(arguments[1:])
        match request.method, route:
            case "GET" | "HEAD", "revision":
                return api.info(request, repo, first)
            case "GET" | "HEAD", "tree":
                return api.tree(
                    *(request, repo, first, rest),
                    page_size=self.page_size,
                    xet_hash=self.xet.hash_of,
                )
            case "POST", "paths-info":
                return api.paths_info(request, repo, first, xet_hash=self.xet.hash_of)
            case "GET", "refs":
                return api.refs(request, repo)
            case "GET", "commits":
                return api.commits(request, repo, first)
            case "GET", "auth-check":
                return self.access.gate(repo, request) or json_response({"status": "ok"})
            case "GET", "xet-read-token":
                return self.access.gate(repo, request) or self.xet.token()
        return error_response(404, "Not found")

    def _find(self, request: Request, kind: str, repo_id: str) -> Repository | Response:
        moved = self.moved.get((kind, repo_id))
        if moved:
            query = f"?{request.query}" if request.query else ""
            location = request.path.replace(repo_id, moved, 1)
            return Response(307, {"Location": f"{location}{query}"})
        repo = self.repos.get((kind, repo_id))
        if repo is None or not self.access.visible(repo, request):
            return self.access.not_found(request)
        return repo

    def _whoami(self, request: Request) -> Response:
        token = self.access.tokens.get(request.token or "")
        if token is None:
            return error_response(401, "Invalid username or password.")
        return json_response(
            {
                "type": "user",
                "id": "0" * 24,
                "name": token.user,
                "fullname": token.user,
                "orgs": [],
                "auth": {
                    "type": "access_token",
                    "accessToken": {"displayName": "tests", "role": "read"},
                },
            }
        )
