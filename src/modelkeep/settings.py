"""What decides: `keep.toml`, environment variables, defaults, and in which order.

Every answer says what decided it, since a loader that looks in the wrong place is the most common
trouble of all. Nothing is imported here that a quick command would wait for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from modelkeep.errors import AccessError, SettingsError, UsageError
from modelkeep.sizes import parse_size

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
    `upstream` is the endpoint to fetch from; only a person sets it. `budget` is how many bytes the
    keep may take, and `evict` lets a pull make room within it. `record_use` is false where models
    are used by somebody who cannot record it, true where a person vouches that all can.
    """

    mode: str = "private"
    group: str | None = None
    upstream: str | None = None
    budget: int | None = None
    evict: bool = False
    record_use: bool | None = None


_SWITCHES = ("evict", "record_use")


def read_keep_settings(keep: Path) -> KeepSettings:
    """Read `keep.toml`; defaults where there is none. SettingsError says which line is wrong.

    AccessError where this caller may not read it.
    """
    import tomllib

    path = keep / KEEP_FILE
    try:
        text = path.read_text(encoding="utf-8")
        fields = tomllib.loads(text)
    except FileNotFoundError:
        return KeepSettings()
    except PermissionError as error:
        raise AccessError(
            f"`{path}` cannot be read by you",
            hint=f"its owner, or root: chmod a+r {quote(str(path))}",
            path=path,
            errno=error.errno,
        ) from error
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
        where = f"`{path}`, line {_line_of(name, text)}"
        if name not in known:
            raise SettingsError(
                f"{where}: there is no setting `{name}`",
                hint=f"known settings: {', '.join(known)}",
                path=path,
            )
        wanted = bool if name in _SWITCHES else str
        if not isinstance(value, wanted):
            raise SettingsError(
                f"{where}: `{name}` is not {'true or false' if wanted is bool else 'a string'}",
                path=path,
            )
    if fields.get("mode", "private") not in MODES:
        raise SettingsError(
            f"`{path}`, line {_line_of('mode', text)}: `mode` is `{fields['mode']}`",
            hint="private or group",
            path=path,
        )
    if "budget" in fields:
        try:
            fields["budget"] = parse_size(fields["budget"])
        except ValueError as error:
            raise SettingsError(
                f"`{path}`, line {_line_of('budget', text)}: {error}", path=path
            ) from error
    return KeepSettings(**fields)


def _line_of(name: str, text: str) -> int:
    """Return the line on which a setting stands."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.replace('"', "").replace("'", "").partition("=")[0].strip() == name:
            return number
    return 1


def keep_settings_text(settings: KeepSettings) -> str:
    """Return the text of a new `keep.toml`."""
    lines = [
        "# Settings of this keep: https://toml.io. modelkeep reads them at every start.",
        f'mode = "{settings.mode}"  # private: one user writes; group: all members of the group do',
        f'group = "{settings.group}"' if settings.group else '# group = "models"',
        '# upstream = "https://hub.example"  # fetch from here instead of HF_ENDPOINT or the Hub',
        '# budget = "500 GB"  # a pull that would take more is refused',
        "# evict = true  # or makes room first: what was not used for longest goes",
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


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where notes of this user lie that outlive a run and are no cache."""
    home = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local/state")
    return Path(home, "modelkeep")


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
