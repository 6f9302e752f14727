"""The file routes: `resolve` on the hub, signed links on the CDN."""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import parse_qs, quote, unquote, urlencode

from tests.hub.content import Blob, File
from tests.hub.faults import expired
from tests.hub.messages import Request, Response, error_response, file_response
from tests.hub.repos import Commit, Repository

_SECRET = b"only the hub and its CDN know this"


class SignedLinks:
    """Links to the CDN that say until when they hold, and whom nobody else can make."""

    def __init__(self, cdn_url: str) -> None:
        self.lifetime = 3600.0
        """Seconds for which a link issued from now on holds."""
        self._cdn_url = cdn_url
        self._blobs: dict[str, Blob] = {}

    def issue(self, repo: Repository, file: File) -> str:
        path = f"/{repo.prefix}{repo.id}/{file.blob.sha256}/{quote(file.path)}"
        self._blobs[path] = file.blob
        expires = f"{time.time() + self.lifetime:.3f}"
        signature = _sign(path, expires)
        query = urlencode({"Expires": expires, "Signature": signature, "Key-Pair-Id": "K1"})
        return f"{self._cdn_url}{path}?{query}"

    def answer(self, request: Request) -> Response:
        """What the CDN says to a link: the bytes, or 403 for one that is forged or has aged."""
        given = parse_qs(request.query)
        expires, signature = given.get("Expires", [""])[0], given.get("Signature", [""])[0]
        if not hmac.compare_digest(signature, _sign(request.path, expires)):
            return Response(403, {}, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        if float(expires) < time.time():
            return expired()
        blob = self._blobs[request.path]
        # An object store's own etag, which says nothing of the content.
        etag = hashlib.md5(request.path.encode(), usedforsecurity=False).hexdigest()
        return file_response(request, blob, {"ETag": f'"{etag}"'})


def _sign(path: str, expires: str) -> str:
    return hmac.new(_SECRET, f"{path} {expires}".encode(), "sha256").hexdigest()


def resolve(
    request: Request,
    repo: Repository,
    revision: str,
    path: str,
    links: SignedLinks,
    *,
    by_cache_route: bool = False,
) -> Response:
    """A file's bytes, or the redirect to them. Revision and path are as in the URL.

    `by_cache_route` redirects files in git to `/api/resolve-cache/…` of the same origin first.
    """
    commit = repo.find(unquote(revision))
    if commit is None:
        return revision_not_found(revision)
    file = commit.files.get(unquote(path))
    if file is None:
        return error_response(
            *(404, "Entry not found"),
            code="EntryNotFound",
            headers={"X-Repo-Commit": commit.id},
        )
    etag = f'"{file.etag}"'
    headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"}
    linked = {"X-Linked-Size": str(file.size), "X-Linked-Etag": etag}
    if file.lfs:
        location = links.issue(repo, file)
        return _redirect(302, location, {**headers, **linked})
    if by_cache_route:
        location = _cache_route(repo, commit, file)
        return _redirect(307, location, {**headers, **linked})
    return file_response(request, file.blob, {**headers, "ETag": etag})


def resolve_cached(request: Request, repo: Repository, commit_id: str, path: str) -> Response:
    """The second half of a `resolve` that went by the cache route."""
    commit = repo.find(commit_id)
    file = commit.files.get(unquote(path)) if commit else None
    if commit is None or file is None:
        return error_response(404, "Entry not found", code="EntryNotFound")
    headers = {"X-Repo-Commit": commit.id, "ETag": f'"{file.etag}"'}
    return file_response(request, file.blob, headers)


def revision_not_found(revision: str) -> Response:
    message = f"Invalid rev id: {unquote(revision)}"
    return error_response(404, message, code="RevisionNotFound")


def _cache_route(repo: Repository, commit: Commit, file: File) -> str:
    plural = repo.prefix or "models/"
    query = urlencode({"etag": f'"{file.etag}"'})
    return f"/api/resolve-cache/{plural}{repo.id}/{commit.id}/{quote(file.path)}?{query}"


def _redirect(status: int, location: str, headers: dict[str, str]) -> Response:
    return Response(
        status,
        {**headers, "Location": location, "Content-Type": "text/plain; charset=utf-8"},
        f"Found. Redirecting to {location}".encode(),
    )
