"""An environment as text that shells read back to the letter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from shlex import quote

from modelkeep.errors import UsageError

SHELLS = ("sh", "fish", "powershell", "docker")

# PowerShell takes typographic quotes for straight ones.
_POWERSHELL_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")


def lines(variables: Mapping[str, str], unset: Iterable[str], shell: str) -> list[str]:
    """Return the lines that set and unset variables in `shell`, one of SHELLS.

    For docker they are lines of an `--env-file`, whose values are taken as they are; a new
    container has nothing to unset. UsageError for a value of several lines, which such a file
    cannot hold.
    """
    put, drop = _FORMS[shell]
    return [
        *(put(name, value) for name, value in variables.items()),
        *(drop(name) for name in unset if drop is not None),
    ]


def _fish(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _powershell(value: str) -> str:
    doubled = _POWERSHELL_QUOTES.sub(r"\1\1", value)
    return f"'{doubled}'"


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise UsageError(f"an env file for docker cannot hold {value!r}", hint="rename that folder")
    return value


_FORMS: dict[str, tuple[Callable[[str, str], str], Callable[[str], str] | None]] = {
    "sh": (lambda n, v: f"export {n}={quote(v)}", lambda n: f"unset {n}"),
    "fish": (lambda n, v: f"set -gx {n} {_fish(v)}", lambda n: f"set -e {n}"),
    "powershell": (
        lambda n, v: f"$env:{n} = {_powershell(v)}",
        lambda n: f"Remove-Item Env:{n} -ErrorAction SilentlyContinue",
    ),
    "docker": (lambda n, v: f"{n}={_one_line(v)}", None),
}
