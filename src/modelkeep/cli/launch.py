"""What `env` and `exec` do: the environment of loaders, shown or handed to a command.

Kept apart from the commands themselves, so that both can also run without the argument parser.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelkeep import settings
from modelkeep.cli import needed
from modelkeep.cli.output import Output
from modelkeep.errors import NotFoundError
from modelkeep.runtime import offline
from modelkeep.runtime.environment import Environment, empty_variables, variables
from modelkeep.settings import Decided, KeepSettings

if TYPE_CHECKING:
    from modelkeep.cli.table import Table
    from modelkeep.runtime.named import NamedModel
    from modelkeep.runtime.offline import Decision, Verdict

FAILED = 125

_LOOKS = 3  # a model may be removed, or move, between being looked at and being leased

# How this version writes the header of a store it knows; another one gets a closer look.
_KNOWN_FORMAT = b'"format": 1,'


def show_environment(output: Output, keep: str | None, shell: str, wish: bool | None) -> None:
    """Print the variables that let loaders use the keep. Asks no network."""
    place = _find(keep)
    upstream = _settings(place)
    environ = os.environ
    endpoint = _endpoint(upstream)
    decision = offline.decide(
        wish,
        environ,
        read_only=lambda: _is_read_only(place),
        named=(),
        verdict=lambda: offline.remembered(endpoint, environ),
    )
    found = _variables(place, upstream, decision, environ)
    for warning in found.warnings:
        output.warn(warning)
    if output.format == "json":
        output.emit(_document(found))
        return
    from modelkeep.runtime import shells

    lines = shells.lines(found.set, found.unset, shell)
    output.emit({}, human=lines, quiet=lines)
    if shell == "docker":
        from shlex import quote

        mount = quote(f"{place.value}:{place.value}")
        output.remark(f"modelkeep: for docker run --env-file; the keep goes with it: -v {mount}")


def start(
    output: Output,
    keep: str | None,
    wish: bool | None,
    models: Sequence[str],
    command: Sequence[str],
    *,
    fetch: bool = False,
) -> None:
    """Become a command that uses the keep. Returns never; raises what kept it from starting.

    The models are leased by this process, hence by the command, until it ends. `fetch` pulls what
    is missing of them first, into a new private keep where there is none.
    """
    from modelkeep.runtime.process import become

    place = _place_to_fetch_into(keep) if fetch else _find(keep)
    if fetch:
        needed.fetch(output, place, models)
    environ = dict(os.environ)
    for looks_left in reversed(range(_LOOKS)):
        found, named = _prepare(place, wish, models, environ)
        online = not found.offline.value
        with needed.held(output, place, named, command, online=online) as there:
            if looks_left and not there:
                continue
            for warning in found.warnings:
                output.warn(warning)
            for model in named:
                if lack := needed.lack(model, offline=found.offline.value):
                    output.warn(lack)
            output.remark(_verdict_line(found.offline, named))
            become(command, found.applied(environ))


def explain(
    output: Output,
    keep: str | None,
    wish: bool | None,
    models: Sequence[str],
    command: Sequence[str],
) -> None:
    """Show what `start` would do, and why."""
    place = _find(keep)
    found, named = _prepare(place, wish, models, dict(os.environ))
    for warning in found.warnings:
        output.warn(warning)
    document = {
        **_document(found),
        "reasons": found.reasons,
        "models": [
            {"repo": model.name, "commit": model.commit, "missing": model.missing}
            for model in named
        ],
        "command": list(command),
    }
    lines = [f"{name}={value}" for name, value in found.set.items()]
    output.emit(document, human=_explanation(found, named, command), quiet=lines)


def _prepare(
    place: Decided, wish: bool | None, models: Sequence[str], environ: dict[str, str]
) -> tuple[Environment, list[NamedModel]]:
    upstream = _settings(place)
    named = needed.look(place, models)
    decision = offline.decide(
        wish,
        environ,
        read_only=lambda: _is_read_only(place),
        named=named,
        verdict=lambda: _ask(_endpoint(upstream), environ),
    )
    return _variables(place, upstream, decision, environ), named


def _find(explicit: str | None) -> Decided:
    """Return the keep that is meant, or raise what opening it raises."""
    place = settings.keep_directory(explicit)
    try:
        known = _KNOWN_FORMAT in Path(place.value, "store", "STORE.json").read_bytes()
    except OSError:
        known = False
    if not known:
        from modelkeep.keep import Keep

        Keep.open(explicit)
    return place


def _place_to_fetch_into(explicit: str | None) -> Decided:
    try:
        return _find(explicit)
    except NotFoundError:
        from modelkeep.keep import Keep

        Keep.create(explicit)
        return _find(explicit)


def _settings(place: Decided) -> KeepSettings:
    """Read `keep.toml`, unless all that it could say about the upstream is a comment."""
    try:
        lines = Path(place.value, settings.KEEP_FILE).read_bytes().splitlines()
    except OSError:
        return settings.read_keep_settings(Path(place.value))
    if any(b"upstream" in line and not line.lstrip().startswith(b"#") for line in lines):
        return settings.read_keep_settings(Path(place.value))
    return KeepSettings()


def _endpoint(keep_settings: KeepSettings) -> str | None:
    decided = settings.endpoint(keep_settings)
    return decided.value.rstrip("/") if decided else None


def _variables(
    place: Decided, keep_settings: KeepSettings, decision: Decision, environ: Mapping[str, str]
) -> Environment:
    return variables(
        place.value,
        offline=decision,
        environ=environ,
        upstream=keep_settings.upstream,
        chosen=place.source == "option",
    )


def _is_read_only(place: Decided) -> bool:
    # Creating a file would be surer, on odd network mounts; this takes no time at all.
    effective = os.access in os.supports_effective_ids
    temporary = Path(place.value, "store", "tmp")
    return not os.access(temporary, os.W_OK | os.X_OK, effective_ids=effective)


def _ask(endpoint: str | None, environ: dict[str, str]) -> Verdict:
    """Return whether the endpoint is there, asking it unless that was done a moment ago."""
    known = offline.remembered(endpoint, environ)
    if known is not None:
        return known
    from modelkeep.runtime.endpoint import default_endpoint, probe

    if endpoint is None:
        # The client takes them at their word when it is imported; the command will not see them.
        for name in empty_variables(environ):
            os.environ.pop(name, None)
        verdict = probe(default_endpoint())
    else:
        verdict = probe(endpoint)
    offline.remember(endpoint, environ, verdict)
    return verdict


def _verdict_line(decision: Decision, named: Sequence[NamedModel]) -> str:
    state, other = ("offline", "--online") if decision.value else ("online", "--offline")
    line = f"modelkeep: {state}, because {decision.reason}"
    for model in named:
        if model.commit is not None:
            line += f"; {model.name} {needed.age(model)}"
    return f"{line} (else: modelkeep exec {other})"


def _document(found: Environment) -> dict[str, object]:
    return {
        "set": found.set,
        "unset": list(found.unset),
        "offline": {"value": found.offline.value, "reason": found.offline.reason},
        "warnings": list(found.warnings),
    }


def _explanation(
    found: Environment, named: Sequence[NamedModel], command: Sequence[str]
) -> list[str | Table]:
    from modelkeep.cli.table import Table

    state = "offline" if found.offline.value else "online"
    rows = [(state, "", found.offline.reason)]
    rows += [("set", f"{name}={value}", found.reasons[name]) for name, value in found.set.items()]
    rows += [("unset", name, found.reasons[name]) for name in found.unset]
    for model in named:
        lack = needed.lack(model, offline=found.offline.value)
        rows.append(("model", model.name, lack or f"complete: {needed.age(model)}"))
    if command:
        from shlex import join

        rows.append(("become", join(command), ""))
    return [Table(("what", "value", "why"), rows)]
