"""Makes a local model folder a repo of the keep, named and addressed as if it came from the Hub.

Files are split as the Hub splits them, into LFS content named by sha256 and git files named by
git's blob id, and the commit id follows from the content: the same folder gets the same commit
everywhere. Nothing in the folder is changed or shared with it, because people go on writing there.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from modelkeep.errors import BusyError, CorruptError, NotFoundError, UsageError
from modelkeep.fs.durable import remove, unique_name
from modelkeep.fs.links import Linker, LinkMode
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import require_free
from modelkeep.fs.syncpoint import reach
from modelkeep.hub import provenance
from modelkeep.hub.cache import HubCache
from modelkeep.hub.holds import in_hand
from modelkeep.hub.materialise import OWN_HUB_RUNGS, Materialiser, Placement
from modelkeep.hub.progress import Progress
from modelkeep.hub.pulled import Pulled
from modelkeep.hub.repo import Repo, is_commit
from modelkeep.hub.tree import TreeFile, is_path
from modelkeep.store.digest import GIT_SHA1, SHA256, hash_bytes, hash_file
from modelkeep.store.meta import Source
from modelkeep.store.store import Store

# What a new repo on the Hub keeps in LFS by name; everything from 10 MiB on goes there by size.
_LFS_SUFFIXES = frozenset(
    [
        ".7z",
        ".arrow",
        ".avro",
        ".bin",
        ".bz2",
        ".ckpt",
        ".ftz",
        ".gguf",
        ".gz",
        ".h5",
        ".joblib",
        ".lz4",
        ".mlmodel",
        ".model",
        ".msgpack",
        ".npy",
        ".npz",
        ".onnx",
        ".ot",
        ".parquet",
        ".pb",
        ".pickle",
        ".pkl",
        ".pt",
        ".pth",
        ".rar",
        ".safetensors",
        ".tar",
        ".tflite",
        ".tgz",
        ".wasm",
        ".xz",
        ".zip",
        ".zst",
    ]
)
_LFS_PATTERNS = ("*.lfs.*", "*.tar.*", "*tfevents*")
_LFS_FOLDER = "saved_model/"
_LFS_SIZE = 10 * 1024 * 1024

# What lies in working folders and is no part of a model.
_SKIPPED_FOLDERS = frozenset({".git", ".cache", "__pycache__", ".ipynb_checkpoints"})
_MODEL_SIGNS = ("config.json", "model_index.json", "modules.json", "adapter_config.json")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".onnx", ".h5", ".msgpack")


def add(
    store: Store,
    hub: HubCache,
    folder: Path,
    repo: Repo,
    revision: str,
    progress: Progress,
    *,
    any_folder: bool = False,
    force: bool = False,
) -> Pulled:
    """Copy a folder's files into the store and let them appear as `repo` at `revision`.

    Reflinks where the file system can, so that large weights cost no space twice; content that the
    store has is not copied at all. UsageError unless the folder looks like a model, or is
    `any_folder`; for a commit as `revision`; and for a branch that came from elsewhere, unless
    `force` lets it move. BusyError where a file changes meanwhile. Interrupted, it leaves nothing
    visible.
    """
    if is_commit(revision):
        raise UsageError(
            f"`{revision}` is a commit, and what is added gets one from its content",
            hint="name a branch or a tag",
        )
    if not force:
        _refuse_to_move_upstream_refs(store, hub, repo, revision)
    started = time.monotonic()
    found = list(_files(folder))
    sources = {path: source for path, source, _ in found}
    if not any_folder and not _looks_like_a_model(sources):
        raise UsageError(
            f"`{folder}` does not look like a model: no {_MODEL_SIGNS[0]} and no weights",
            hint="name the folder save_pretrained wrote; --type dataset for a data set",
            path=folder,
        )
    progress.started(len(found), sum(size for _, _, size in found))
    tree = [_describe(path, source, progress) for path, source in sources.items()]
    commit = commit_of(tree)
    reach("add:hashed")
    new = {file.digest: file for file in tree if not store.is_proven(file.digest)}
    require_free(
        store.layout.tmp, sum(file.size for file in new.values()), doing=f"adding `{folder}`"
    )
    for file in tree:
        origin = Source(str(repo), commit, file.path, None)
        _bring(store, sources[file.path], file, origin)
        reach("add:published")
    placement = Placement()
    snapshot = _appear(store, hub, repo, commit, tree, revision, placement)
    stored = sum(file.size for file in new.values())
    return Pulled.of(repo, commit, snapshot, tree, placement, started=started, stored=stored)


def _refuse_to_move_upstream_refs(store: Store, hub: HubCache, repo: Repo, revision: str) -> None:
    current = hub.refs(repo).get(revision)
    if current is None:
        return
    digests = [file.digest for file in hub.tree(repo, current) or ()]
    if provenance.source_of(store, repo, current, digests) != provenance.LOCAL:
        raise UsageError(
            f"`{repo}@{revision}` was not added from a folder and stays at {current[:12]}",
            hint="--force lets the branch follow the folder; or choose another name or --revision",
        )


def _appear(
    store: Store,
    hub: HubCache,
    repo: Repo,
    commit: str,
    tree: list[TreeFile],
    revision: str,
    placement: Placement,
) -> Path:
    materialiser = Materialiser(store, hub, store.roots.own_hub(), OWN_HUB_RUNGS)
    digests = [file.digest for file in tree]
    with in_hand(store, repo, commit, digests, reason="modelkeep add"):
        try:
            if not materialiser.place_blobs(repo, tree, placement):
                return materialiser.finish(repo, commit, tree, tree=tree, refs=(revision,))
        except FileNotFoundError:
            pass  # a removal was at work on the same repo
    raise BusyError(
        f"`{repo}` is being removed from the keep while it is added", hint="run add again"
    )


def commit_of(files: list[TreeFile]) -> str:
    """Return the commit id of added files: 40 hex digits that follow from paths and contents."""
    lines = sorted(f"{file.path}\0{file.digest}\0{file.size}\n" for file in files)
    text = "modelkeep add 1\n" + "".join(lines)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path, int]]:
    """Yield the regular files below a folder: path in the repo, real path, size in bytes.

    Links are followed to files, wherever they lie, since caches are made of such links; what cannot
    be a file of a repo is refused, not left out.
    """
    if not folder.is_dir():
        raise NotFoundError(
            f"`{folder}` is not a folder", hint="name the folder that save_pretrained wrote"
        )

    def refuse(error: OSError) -> None:
        raise error

    with explained("reading the folder", folder):
        for base, folders, names in os.walk(folder, onerror=refuse):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
            for name in folders:
                if Path(base, name).is_symlink():
                    raise UsageError(
                        f"`{Path(base, name)}` is a link to a folder",
                        hint="put the folder itself there, or remove the link",
                        path=Path(base, name),
                    )
            for name in sorted(names):
                path = Path(base, name)
                try:
                    status = path.stat()
                except FileNotFoundError as error:
                    raise NotFoundError(
                        f"`{path}` is a link to nothing", hint="remove or mend it", path=path
                    ) from error
                if not stat.S_ISREG(status.st_mode):
                    raise UsageError(
                        f"`{path}` is neither a file nor a folder",
                        hint="remove it: a repo cannot hold a pipe, a socket or a device",
                        path=path,
                    )
                yield _repo_path(path, folder), path.resolve(), status.st_size


def _repo_path(path: Path, folder: Path) -> str:
    text = path.relative_to(folder).as_posix()
    if not is_path(text):
        raise UsageError(
            f"{os.fsencode(path)!r} cannot be the name of a file in a repo",
            hint="rename it: no control characters, no backslash, valid UTF-8",
        )
    return text


def _looks_like_a_model(sources: dict[str, Path]) -> bool:
    return any(path in _MODEL_SIGNS or path.lower().endswith(_WEIGHT_SUFFIXES) for path in sources)


def _describe(path: str, source: Path, progress: Progress) -> TreeFile:
    """Hash a file under the name the Hub would give it."""
    try:
        with explained("hashing", source):
            algorithm = SHA256 if _is_lfs(path, source.stat().st_size) else GIT_SHA1
            digest, size = hash_file(source, algorithm, progress=progress.advanced)
    except FileNotFoundError as error:
        raise _changed(source) from error
    progress.file_done(path)
    if algorithm == GIT_SHA1:
        return TreeFile(path, size, digest, digest.hex)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest.hex}\nsize {size}\n"
    return TreeFile(path, size, digest, hash_bytes(pointer.encode(), GIT_SHA1).hex)


def _bring(store: Store, source: Path, file: TreeFile, origin: Source) -> None:
    """Bring a file's content into the store; what is stored is hashed again, not what was read."""
    try:
        if store.is_proven(file.digest):
            store.describe(file.digest, origin)
            return
    except (CorruptError, FileNotFoundError):
        pass  # it changed, or went, just now
    _store_copy(store, source, file, origin)


def _store_copy(store: Store, source: Path, file: TreeFile, origin: Source) -> None:
    part = store.layout.tmp / unique_name("add-")
    try:
        Linker((LinkMode.REFLINK, LinkMode.COPY)).place(source, part)
        reach("add:copied")
        store.publish(part, file.digest, source=origin)
    except (CorruptError, FileNotFoundError) as error:
        raise _changed(source) from error
    finally:
        remove(part)


def _changed(source: Path) -> BusyError:
    return BusyError(
        f"`{source}` changed while it was added",
        hint="add the folder when nothing writes into it",
        path=source,
    )


def _is_lfs(path: str, size: int) -> bool:
    name = path.rpartition("/")[2]
    return (
        size >= _LFS_SIZE
        or Path(name).suffix in _LFS_SUFFIXES
        or path.startswith(_LFS_FOLDER)
        or any(fnmatchcase(name, pattern) for pattern in _LFS_PATTERNS)
    )
