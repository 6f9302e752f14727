"""The Xet side: hashes in listings and headers, and the token that opens the store of chunks."""

from __future__ import annotations

import importlib
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.hub.content import Blob, File
from tests.hub.messages import Request, Response, error_response, json_response
from tests.hub.repos import PLURALS, Repository


class Xet:
    """Announces LFS files as Xet files once `enabled`; `store` must be set by then.

    The store of chunks is a directory, filled by the real `hf_xet` on first need and read by
    clients on the same machine through a `local://` address.
    """

    def __init__(self) -> None:
        self.enabled = False
        self.answers_tokens = True
        """False is what many mirrors do: hashes are announced, the token route is 404."""
        self.store: Path | None = None
        self._lock = threading.Lock()
        self._hashes: dict[Blob, str] = {}

    def hash_of(self, file: File) -> str | None:
        if not self.enabled or not file.lfs:
            return None
        with self._lock:
            if file.blob not in self._hashes:
                self._hashes[file.blob] = self._upload(file.blob)
            return self._hashes[file.blob]

    def announce(
        self, request: Request, repo: Repository, revision: str, path: str, response: Response
    ) -> Response:
        """Add the Xet headers to the redirect of a Xet file."""
        commit = repo.find(unquote(revision))
        file = commit.files.get(unquote(path)) if commit else None
        hashed = self.hash_of(file) if file and response.status == 302 else None
        if hashed is None or commit is None:
            return response
        host = request.headers.get("host", "")
        route = f"http://{host}/api/{PLURALS[repo.kind]}/{repo.id}/xet-read-token/{commit.id}"
        response.headers["X-Xet-Hash"] = hashed
        response.headers["Link"] = f'<{route}>; rel="xet-auth"'
        return response

    def token(self) -> Response:
        if not self.enabled or not self.answers_tokens:
            return error_response(404, "Not found")
        expires = int(time.time()) + 3600
        address = f"local://{self.store}"
        return json_response(
            {"accessToken": "xet", "exp": expires, "casUrl": address},
            headers={
                "X-Xet-Cas-Url": address,
                "X-Xet-Access-Token": "xet",
                "X-Xet-Token-Expiration": str(expires),
            },
        )

    def _upload(self, blob: Blob) -> str:
        # Untyped, and not installed beside every client.
        hf_xet: Any = importlib.import_module("hf_xet")
        assert self.store is not None
        self.store.mkdir(parents=True, exist_ok=True)
        address = f"local://{self.store}"
        with hf_xet.XetSession().new_upload_commit(endpoint=address) as commit:
            if isinstance(blob.source, bytes):
                upload = commit.start_upload_bytes(blob.source, sha256=blob.sha256, name="blob")
            else:
                upload = commit.start_upload_file(str(blob.source), sha256=blob.sha256)
        return str(upload.result().xet_info.hash)
