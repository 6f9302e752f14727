"""Reads what stands in folders. Links are never followed below the folder that is named."""

from __future__ import annotations

import os
from pathlib import Path


def entries(directory: str) -> list[os.DirEntry[str]]:
    """Return what stands in a folder; nothing where there is none."""
    try:
        return list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def nearest(path: Path) -> Path:
    """Return a path, or what stands nearest above it where it is not there yet."""
    return next((place for place in (path, *path.parents) if place.exists()), Path(path.anchor))


def walk(top: str) -> tuple[list[str], dict[str, os.DirEntry[str]]]:
    """Return the links below a folder, and the files that are no links, by their path in it.

    OSError where a folder does not let the caller in.
    """
    links: list[str] = []
    others: dict[str, os.DirEntry[str]] = {}
    prefixes = [""]
    while prefixes:
        prefix = prefixes.pop()
        found = entries(f"{top}/{prefix}")
        links += [prefix + entry.name for entry in found if entry.is_symlink()]
        for entry in [entry for entry in found if not entry.is_symlink()]:
            if entry.is_dir():
                prefixes.append(f"{prefix}{entry.name}/")
            else:
                others[prefix + entry.name] = entry
    return links, others
