"""Reads a folder that `hf download --local-dir` filled: which files came from the Hub, and as what.

The client notes commit and etag of each file beside it, and not the repo. What is not noted is the
user's own and none of our business.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from modelkeep.fs.reading import read_small
from modelkeep.hub.adopt.inventory import Found, Inventory, walk
from modelkeep.hub.adopt.places import DOWNLOADS
from modelkeep.hub.tree import is_path
from modelkeep.store.digest import Digest

_NOTE = ".metadata"


def take_stock_of_folder(directory: Path) -> Inventory:
    """Read such a folder, by its real path."""
    stock = Inventory(directory)
    notes = directory / DOWNLOADS
    for note in walk(notes):
        if note.suffix != _NOTE:
            continue
        name = note.relative_to(notes).as_posix().removesuffix(_NOTE)
        path = directory / name
        digest = _digest(note)
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue  # removed since
        if digest is None or not is_path(name):
            stock.skip(path, "its note names no checksum")
        elif not stat.S_ISREG(status.st_mode) or _is_linked(directory, path):
            stock.skip(path, "it is a link, and is not followed")
        else:
            stock.files[name] = Found(name, digest, status)
    return stock


def _digest(note: Path) -> Digest | None:
    try:
        lines = read_small(note).decode("ascii", "replace").split("\n")
    except OSError:
        return None
    return Digest.from_etag(lines[1].strip()) if len(lines) > 1 else None


def _is_linked(directory: Path, path: Path) -> bool:
    """Tell whether a path leads through a link."""
    return Path(os.path.realpath(path.parent)) != path.parent and path.parent != directory
