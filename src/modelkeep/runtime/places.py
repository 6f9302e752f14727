"""Where a person's own files lie."""

from __future__ import annotations

import os
from collections.abc import Mapping


def home(environ: Mapping[str, str]) -> str:
    """Return the home folder; the one of the account where HOME does not say."""
    return environ.get("HOME") or os.path.expanduser("~")


def cache_home(environ: Mapping[str, str]) -> str:
    """Return the folder of all caches. An empty XDG_CACHE_HOME is an unset one."""
    return environ.get("XDG_CACHE_HOME") or os.path.join(home(environ), ".cache")


def config_home(environ: Mapping[str, str]) -> str:
    """Return the folder of all settings."""
    return environ.get("XDG_CONFIG_HOME") or os.path.join(home(environ), ".config")


def expanded(path: str, environ: Mapping[str, str]) -> str:
    """Return a path as the Hub client reads it from a variable: `~` and `$NAME` are filled in.

    `$NAME` is looked up in this process's own environment.
    """
    if path == "~" or path.startswith("~/"):
        path = home(environ) + path[1:]
    return os.path.expandvars(path)


def inside(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or lies in it, links followed."""
    real, top = os.path.realpath(path), os.path.realpath(folder)
    return real == top or real.startswith(top.rstrip("/") + "/")
