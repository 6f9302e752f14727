"""What decides: `keep.toml`, environment variables, defaults, and in which order.

Every answer says what decided it, since a loader that looks in the wrong place is the most common
trouble of all. Nothing is imported here that a quick command would wait for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import SettingsError, UsageError

KEEP_FILE = "keep.toml"
MODES = ("private", "group")


@dataclass(frozen=True, slots=True)
class Decided:
    """A value and what decided it: a variable, an option or a setting by `name`, from `source`.

    Both are `default` where nothing was said.
    """

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class KeepSettings:
    """The contents of `keep.toml`.

    `mode` is who writes: one user (`private`) or a group. `group` names the group of a group keep.
    `upstream` is the endpoint to fetch from; only a person sets it.
    """

    mode: str = "private"
    group: str | None = None
    upstream: str | None = None


def read_keep_settings(keep: Path) -> KeepSettings:
    """Read `keep.toml`; defaults where there is none. SettingsError says which line is wrong."""
    import tomllib

    path = keep / KEEP_FILE
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return KeepSettings()
    except IsADirectoryError as error:
        raise SettingsError(
            f"`{path}` is a folder, not a file", hint="move it away", path=path
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"`{path}` is not valid TOML: {error}", hint="mend that line", path=path
        ) from error
    known = KeepSettings.__slots__
    for name, value in fields.items():
        if name not in known:
            raise SettingsError(
                f"`{path}` has an unknown setting `{name}`",
                hint=f"known settings: {', '.join(known)}",
                path=path,
            )
        if not isinstance(value, str):
            raise SettingsError(f"`{name}` in `{path}` is not a string", path=path)
    settings = KeepSettings(**fields)
    if settings.mode not in MODES:
        raise SettingsError(
            f"`mode` in `{path}` is `{settings.mode}`", hint="private or group", path=path
        )
    return settings


def keep_settings_text(settings: KeepSettings) -> str:
    """Return the text of a new `keep.toml`."""
    lines = [
        "# Settings of this keep: https://toml.io. modelkeep reads them at every start.",
        f'mode = "{settings.mode}"  # private: one user writes; group: all members of the group do',
        f'group = "{settings.group}"' if settings.group else '# group = "models"',
        '# upstream = "https://hub.example"  # fetch from here instead of HF_ENDPOINT or the Hub',
    ]
    return "\n".join(lines) + "\n"


def keep_directory(
    explicit: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
) -> Decided:
    """Return which keep is meant: the option, MODELKEEP_HOME, or the default place."""
    if explicit is not None:
        if not os.fspath(explicit):
            raise UsageError(
                "a keep needs a directory, and an empty name is none",
                hint="leave it out for MODELKEEP_HOME or the default place",
            )
        return Decided("--keep", os.path.abspath(os.path.expanduser(explicit)), "option")
    if home := environ.get("MODELKEEP_HOME"):
        return Decided("MODELKEEP_HOME", os.path.abspath(os.path.expanduser(home)), "environment")
    return _in_cache_home("modelkeep", environ)


def endpoint(settings: KeepSettings, environ: Mapping[str, str] = os.environ) -> Decided | None:
    """Return the endpoint to fetch from; None means the client's own default, the Hub."""
    if settings.upstream:
        return Decided("upstream", settings.upstream, KEEP_FILE)
    if value := environ.get("HF_ENDPOINT"):
        return Decided("HF_ENDPOINT", value, "environment")
    return None


def loader_cache(environ: Mapping[str, str] = os.environ) -> Decided:
    """Return where a stock loader started with this environment looks for models.

    As huggingface_hub decides it, to the letter: a variable that is set but empty counts.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if name in environ:
            return Decided(name, _expand(environ[name]), "environment")
    if "HF_HOME" in environ:
        return Decided("HF_HOME", os.path.join(_expand(environ["HF_HOME"]), "hub"), "environment")
    return _in_cache_home(os.path.join("huggingface", "hub"), environ)


def _in_cache_home(name: str, environ: Mapping[str, str]) -> Decided:
    if home := environ.get("XDG_CACHE_HOME"):
        return Decided("XDG_CACHE_HOME", os.path.join(home, name), "environment")
    default = os.path.join(os.path.expanduser("~"), ".cache", name)
    return Decided("default", default, "default")


def _expand(text: str) -> str:
    return os.path.expandvars(os.path.expanduser(text))
