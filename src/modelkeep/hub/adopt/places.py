"""Which cache is meant by what was typed, and which places cannot be adopted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from modelkeep.errors import AccessError, NotFoundError, UsageError
from modelkeep.fs import accounts
from modelkeep.fs.oserrors import explained
from modelkeep.hub.repo import Repo

DOWNLOADS = ".cache/huggingface/download"
"""Where `hf download --local-dir` notes what it put into a plain folder."""

ASIDE = ".modelkeep-"
"""What follows a cache's name in that of the folder which a merge has replaced by a link."""

_LINKS = 40  # as many as the kernel follows


@dataclass(frozen=True, slots=True)
class Place:
    """A cache to adopt, by its real path; `plain`: a folder that was downloaded into instead.

    `merged`: it is a link to the keep already.
    """

    directory: Path
    plain: bool = False
    merged: bool = False


def locate(given: Path, keep: Path) -> Place:
    """Find the cache that is meant: a hub cache, the HF_HOME around one, or a plain folder.

    Raises NotFoundError, AccessError for somebody else's, UsageError for what is no cache.
    """
    with explained("looking at", given):
        hub, directory = real(keep / "hub"), real(given)
        if not _is_folder(directory):
            raise NotFoundError(
                f"there is no cache at `{given}`",
                hint="name a folder with models--… in it, or the HF_HOME around it",
                path=given,
            )
    inner = given / "hub"
    if directory == hub or (directory != real(keep) and real(inner) == hub):
        if any(path.is_symlink() for path in (given, inner)):
            return Place(hub, merged=True)
        raise UsageError(f"`{given}` is the keep's own hub: it is in the keep", path=given)
    place = _find(given, directory)
    _refuse_keeps(given, place.directory, real(keep))
    _refuse_aside(given, place.directory)
    _refuse_foreign(place.directory)
    return place


def _is_folder(path: Path) -> bool:
    """Tell whether a folder is there. Plain `OSError` where nobody lets this user look."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def real(path: Path) -> Path:
    """Return a path without links; `Path.resolve` raises what is no `OSError` where they loop."""
    return Path(os.path.realpath(path))


def names(given: Path) -> Iterator[Path]:
    """Yield the real paths a cache may have had that was replaced by a link: each link's own."""
    for start in (given, given / "hub"):
        path = start.absolute()
        for _ in range(_LINKS):
            path = real(path.parent) / path.name
            yield path
            if not path.is_symlink():
                break
            path = path.parent / path.readlink()


def _find(given: Path, directory: Path) -> Place:
    with explained("looking at", directory):
        if _is_hub(directory):
            return Place(directory)
        if (directory / DOWNLOADS).is_dir():
            return Place(directory, plain=True)
        inner = real(directory / "hub")
        if inner.is_dir() and _is_hub(inner):
            return Place(inner)
    if any(path.suffix == ".json" and path.with_suffix("").is_file() for path in _files(directory)):
        raise UsageError(
            f"`{given}` has the layout of transformers before 4.22, whose files name no repo",
            hint="nothing loads it any more: remove it when you need the space",
            path=given,
        )
    raise UsageError(
        f"`{given}` is no Hugging Face cache: no models--… or datasets--… in it",
        hint="name a hub cache, an HF_HOME, or a folder filled by hf download --local-dir",
        path=given,
    )


def _is_hub(directory: Path) -> bool:
    return any(Repo.from_folder(entry.name) for entry in directory.iterdir() if entry.is_dir())


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.is_file()]


def _refuse_keeps(given: Path, directory: Path, keep: Path) -> None:
    if directory.is_relative_to(keep):
        raise UsageError(f"`{given}` lies inside the keep", path=given)
    if keep.is_relative_to(directory):
        raise UsageError(
            f"the keep lies inside `{given}`",
            hint="make the keep beside the cache: modelkeep init DIR",
            path=given,
        )
    for folder in (directory, *directory.parents):
        if (folder / "store" / "STORE.json").is_file():
            raise UsageError(
                f"`{given}` belongs to the keep `{folder}`",
                hint=f"use that one: modelkeep --keep {quote(str(folder))}",
                path=given,
            )


def _refuse_aside(given: Path, directory: Path) -> None:
    """Raise UsageError for what a merge has set beside the link that stands for it now."""
    cache, mark, rest = directory.name.rpartition(ASIDE)
    if mark and rest and directory.with_name(cache).is_symlink():
        raise UsageError(
            f"`{given}` is what a merge left of `{directory.with_name(cache)}`",
            hint=f"put it back: modelkeep adopt --undo {quote(str(directory.with_name(cache)))}",
            path=given,
        )


def _refuse_foreign(directory: Path) -> None:
    owner = directory.stat().st_uid
    if owner != os.geteuid():
        raise AccessError(
            f"`{directory}` belongs to {accounts.user(owner)}, and only its owner can adopt it",
            hint=f"let them run it: {as_owner(owner, 'adopt', directory)}",
            path=directory,
        )


def as_owner(uid: int, arguments: str, directory: Path) -> str:
    """Return what to type so that a user runs modelkeep on a directory."""
    user = accounts.user_name(uid) or f"#{uid}"
    return f"sudo -u {quote(user)} modelkeep {arguments} {quote(str(directory))}"
