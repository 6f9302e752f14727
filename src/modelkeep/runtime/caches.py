"""Finds the places of this machine where Hugging Face caches may lie.

From homes, the environments of processes, start-up files, container volumes and registered roots.
Of environments only the variables that name a cache are looked at. Nothing here waits for a file
system that does not answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelkeep import settings
from modelkeep.fs.answering import Patience, ask
from modelkeep.fs.folders import entries
from modelkeep.fs.mounts import table
from modelkeep.runtime import containers
from modelkeep.runtime.containers import View
from modelkeep.runtime.places import expanded

# Which variables name a cache, and where below their value it lies.
_VARIABLES = {
    "HF_HUB_CACHE": "",
    "HUGGINGFACE_HUB_CACHE": "",
    "HF_HOME": "hub",
    "XDG_CACHE_HOME": "huggingface/hub",
    "TRANSFORMERS_CACHE": "",
    "PYTORCH_TRANSFORMERS_CACHE": "",
    "PYTORCH_PRETRAINED_BERT_CACHE": "",
    "SENTENCE_TRANSFORMERS_HOME": "",
}
_IN_HOME = ".cache/huggingface/hub"
# A volume is mounted at a hub cache, at an HF_HOME, at a folder of caches or at a home.
_IN_VOLUME = ("", "hub", "huggingface/hub", _IN_HOME)
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Z_]+)=(\"[^\"]*\"|'[^']*'|[^\s#;]*)")


@dataclass(frozen=True, slots=True)
class Place:
    """A path at which a cache may lie, and what led there, in words for a person."""

    path: str
    found_by: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a system tells of its users, processes and volumes."""

    processes: str = "/proc"
    homes: str = "/home"
    accounts: str = "/etc/passwd"
    startup: tuple[str, ...] = ("/etc/environment", "/etc/profile.d")
    volumes: tuple[str, ...] = containers.SYSTEM_VOLUMES


def places(
    environ: Mapping[str, str],
    roots: Iterable[str | os.PathLike[str]] = (),
    machine: Machine | None = None,
) -> tuple[Place, ...]:
    """Return where caches may lie, each path once, the caller's own first.

    `roots` are directories that a keep knows already. What cannot be read is passed over.
    """
    machine = machine or Machine()
    found: dict[str, Place] = {}
    own = settings.loader_cache(environ)
    for place in (
        Place(own.value, "this shell"),
        *_named(environ, "this shell", expand=environ),
        *(Place(os.fspath(root), "linked from the keep") for root in roots),
        *_of_people(machine),
        *_of_startup_files(machine),
        *_of_processes(machine),
    ):
        path = os.path.normpath(place.path)
        if os.path.isabs(path):  # relative ones mean another folder to each process
            found.setdefault(path, Place(path, place.found_by))
    return tuple(found.values())


def _named(
    variables: Mapping[str, str], source: str, *, expand: Mapping[str, str] | None = None
) -> Iterator[Place]:
    for name, below in _VARIABLES.items():
        if value := variables.get(name):
            path = expanded(value, expand) if expand is not None else value
            yield Place(os.path.join(path, below), f"{name} of {source}")


def _of_people(machine: Machine) -> Iterator[Place]:
    patience = Patience()
    known = dict(ask([machine.homes, *machine.volumes], _names, patience))
    homes = [f"{machine.homes}/{name}" for name in known.pop(machine.homes) or ()]
    homes = list(dict.fromkeys([*homes, *_accounts(machine.accounts)]))
    for home in homes:
        yield Place(f"{home}/{_IN_HOME}", f"home {home}")
    folders = [f"{home}/{folder}" for home in homes for folder in containers.USER_VOLUMES]
    known |= dict(ask(folders, _names, patience))
    for folder, names in known.items():
        for name in names or ():
            for below in _IN_VOLUME:
                path = os.path.join(containers.volume(folder, name), below)
                yield Place(path, f"container volume {name}")


def _of_startup_files(machine: Machine) -> Iterator[Place]:
    for start in machine.startup:
        for file in [start, *(f"{start}/{name}" for name in _names(start))]:
            matches = map(_ASSIGNMENT.match, _text(file).split("\n"))
            found = {match[1]: match[2].strip("\"'") for match in matches if match}
            yield from _named(found, file)


def _of_processes(machine: Machine) -> Iterator[Place]:
    try:
        pids = sorted((name for name in os.listdir(machine.processes) if name.isdigit()), key=int)
    except OSError:
        return
    ours, here = table(), containers.namespace(f"{machine.processes}/self")
    views: dict[str, View] = {}
    folders = [f"{machine.processes}/{pid}" for pid in pids]
    for folder, told in ask(folders, _environment, Patience(local_s=1.0)):
        namespace, variables = told or ("", {})
        found = _named(variables, f"process {os.path.basename(folder)}")
        if not namespace or namespace == here:
            yield from found
            continue
        view = views.get(namespace) or View(Path(folder), ours)
        yield from (
            Place(view.here(place.path), place.found_by)
            for place in found
            if place.path.startswith("/")
        )
        if namespace not in views:
            views[namespace] = view
            yield from _in_container(view, os.path.basename(folder))


def _in_container(view: View, pid: str) -> Iterator[Place]:
    for top in ("/root", *view.mounted()):
        for below in _IN_VOLUME:
            path = os.path.join(top, below)
            yield Place(view.here(path), f"container of process {pid}")


def _environment(process: str) -> tuple[str, dict[str, str]]:
    """Return a process's view of mounts and the variables that name caches, no others."""
    try:
        data = Path(process, "environ").read_bytes()
    except OSError:
        data = b""
    pairs = (os.fsdecode(pair).partition("=") for pair in data.split(b"\0"))
    variables = {name: value for name, _, value in pairs if name in _VARIABLES and value}
    return containers.namespace(process) or "", variables


def _names(folder: str) -> list[str]:
    try:
        return sorted(entry.name for entry in entries(folder) if not entry.name.startswith("."))
    except OSError:
        return []


def _accounts(path: str) -> list[str]:
    """Return the homes of a file of accounts; a directory service is not asked."""
    fields = (line.split(":") for line in _text(path).splitlines())
    homes = {field[5].rstrip("/"): None for field in fields if len(field) >= 6}
    return [home for home in homes if home]


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
