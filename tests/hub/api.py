"""The JSON routes: what a repository is, what is in it, and how it came about."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

from tests.hub.content import File
from tests.hub.files import revision_not_found
from tests.hub.messages import Request, Response, error_response, json_response
from tests.hub.repos import Commit, Repository

XetHash = Callable[[File], str | None]


def info(request: Request, repo: Repository, revision: str) -> Response:
    commit = repo.find(unquote(revision))
    if commit is None:
        return revision_not_found(revision)
    blobs = request.argument("blobs").lower() in ("true", "1")
    first = min(repo.commits.values(), key=lambda c: c.date)
    document: dict[str, Any] = {
        "_id": first.id[:24],
        "id": repo.id,
        "author": repo.id.partition("/")[0] if "/" in repo.id else None,
        "sha": commit.id,
        "createdAt": _time(first),
        "lastModified": _time(commit),
        "private": repo.private,
        "gated": "manual" if repo.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "usedStorage": sum(file.size for file in commit.files.values()),
        "siblings": [_sibling(file, blobs=blobs) for file in commit.files.values()],
    }
    if repo.kind == "model":
        document["modelId"] = repo.id
    return json_response(document)


def tree(
    request: Request,
    repo: Repository,
    revision: str,
    directory: str,
    *,
    page_size: int,
    xet_hash: XetHash,
) -> Response:
    """One page of a directory's entries, in path order; more follow by `Link: …; rel="next"`."""
    commit = repo.find(unquote(revision))
    if commit is None:
        return revision_not_found(revision)
    directory = unquote(directory).strip("/")
    if directory not in commit.directories:
        return error_response(404, f"{directory} does not exist", code="EntryNotFound")
    recursive = request.argument("recursive").lower() in ("true", "1")
    names = [
        path
        for path in sorted([*commit.files, *filter(None, commit.directories)])
        if _inside(path, directory, recursive=recursive)
    ]
    limit = min(int(request.argument("limit") or page_size), page_size)
    after = request.argument("cursor")
    remaining = [name for name in names if name > after] if after else names
    page = remaining[:limit]
    expand = request.argument("expand").lower() in ("true", "1")
    headers = {}
    if len(remaining) > limit:
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        query["cursor"] = page[-1]
        host = request.headers.get("host", "")
        headers["Link"] = f'<http://{host}{request.path}?{urlencode(query)}>; rel="next"'
    entries = [_entry(commit, path, xet_hash, expand=expand) for path in page]
    return json_response(entries, headers=headers)


def paths_info(request: Request, repo: Repository, revision: str, *, xet_hash: XetHash) -> Response:
    """The entries of the paths asked for; those that do not exist are left out."""
    commit = repo.find(unquote(revision))
    if commit is None:
        return revision_not_found(revision)
    if "json" in request.headers.get("content-type", ""):
        form = json.loads(request.body)
        paths, expand = form.get("paths", []), bool(form.get("expand"))
    else:
        fields = parse_qs(request.body.decode())
        paths, expand = fields.get("paths", []), fields.get("expand", [""])[-1].lower() == "true"
    wanted = [path.strip("/") for path in ([paths] if isinstance(paths, str) else paths)]
    known = [p for p in wanted if p in commit.files or (p and p in commit.directories)]
    return json_response([_entry(commit, path, xet_hash, expand=expand) for path in known])


def refs(request: Request, repo: Repository) -> Response:
    document: dict[str, Any] = {
        "branches": [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
            for name, commit in sorted(repo.branches.items())
            if not name.startswith("refs/")
        ],
        "converts": [],
        "tags": [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit}
            for name, commit in sorted(repo.tags.items())
        ],
    }
    if request.argument("include_prs"):
        document["pullRequests"] = [
            {"name": name.removeprefix("refs/"), "ref": name, "targetCommit": commit}
            for name, commit in sorted(repo.branches.items())
            if name.startswith("refs/pr/")
        ]
    return json_response(document)


def commits(request: Request, repo: Repository, revision: str) -> Response:
    commit = repo.find(unquote(revision))
    if commit is None:
        return revision_not_found(revision)
    history: list[dict[str, Any]] = []
    while commit is not None:
        title, _, rest = commit.message.partition("\n")
        history.append(
            {
                "id": commit.id,
                "title": title,
                "message": rest.strip(),
                "authors": [{"user": "stand-in"}],
                "date": _time(commit),
            }
        )
        commit = commit.parent
    size, page = int(request.argument("limit", "50")), int(request.argument("p", "0"))
    shown: Sequence[dict[str, Any]] = history[page * size : (page + 1) * size]
    headers = {"X-Total-Count": str(len(history))}
    if (page + 1) * size < len(history):
        host = request.headers.get("host", "")
        query = urlencode({"limit": size, "p": page + 1})
        headers["Link"] = f'<http://{host}{request.path}?{query}>; rel="next"'
    return json_response(shown, headers=headers)


def _inside(path: str, directory: str, *, recursive: bool) -> bool:
    if directory and not path.startswith(f"{directory}/"):
        return False
    return recursive or "/" not in path[len(directory) + 1 if directory else 0 :]


def _entry(commit: Commit, path: str, xet_hash: XetHash, *, expand: bool) -> dict[str, Any]:
    file = commit.files.get(path)
    entry: dict[str, Any]
    if file is None:
        entry = {"type": "directory", "oid": commit.directories[path], "size": 0, "path": path}
    else:
        entry = {"type": "file", "oid": file.oid, "size": file.size, "path": path}
        if file.lfs:
            entry["lfs"] = {
                "oid": file.etag,
                "size": file.size,
                "pointerSize": len(file.pointer),
            }
        if hashed := xet_hash(file):
            entry["xetHash"] = hashed
    if expand:
        title = commit.message.partition("\n")[0]
        entry["lastCommit"] = {"id": commit.id, "title": title, "date": _time(commit)}
        scans = {"avScan": None, "pickleImportScan": None}
        entry["securityFileStatus"] = {"status": "unscanned", **scans}
    return entry


def _sibling(file: File, *, blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": file.path}
    if blobs:
        sibling |= {"size": file.size, "blobId": file.oid}
        if file.lfs:
            pointer = len(file.pointer)
            sibling["lfs"] = {"sha256": file.etag, "size": file.size, "pointerSize": pointer}
    return sibling


def _time(commit: Commit) -> str:
    return commit.date.strftime("%Y-%m-%dT%H:%M:%S.000Z")
