"""The variables that let unmodified loaders use a keep, and nothing else of anybody's.

What is shared is the hub cache alone. Tokens, processed data sets and whatever is compiled or
executed stay where they are, or are moved out of shared places; saving a token, for one, closes its
folder to everybody else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelkeep.runtime.offline import Decision, is_true
from modelkeep.runtime.places import cache_home, expanded, inside

# What the client derives from HF_HOME and must not be shared.
_PRIVATE = {
    "HF_TOKEN_PATH": "token",
    "HF_XET_CACHE": "xet",
    "HF_ASSETS_CACHE": "assets",
    "HF_DATASETS_CACHE": "datasets",
    "HF_MODULES_CACHE": "modules",
    "HF_EVALUATE_CACHE": "evaluate",
    "HF_METRICS_CACHE": "metrics",
}
# Compiled code, which is private unless somebody pointed it into the keep.
_COMPILED = {"TORCHINDUCTOR_CACHE_DIR": "torchinductor", "TRITON_CACHE_DIR": "triton"}
# Other caches that win over HF_HUB_CACHE, and whom they win over.
_RIVALS = {
    "HUGGINGFACE_HUB_CACHE": "the older name of HF_HUB_CACHE",
    "TRANSFORMERS_CACHE": "transformers 5 ignores it, transformers 4 would look there",
    "PYTORCH_TRANSFORMERS_CACHE": "transformers 4 would look there",
    "PYTORCH_PRETRAINED_BERT_CACHE": "transformers 4 would look there",
    "SENTENCE_TRANSFORMERS_HOME": "sentence-transformers would look there",
}
_PREFIXES = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_")
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Environment:
    """What to change in an environment. `reasons` says for each variable why."""

    set: dict[str, str]
    unset: tuple[str, ...]
    offline: Decision
    warnings: tuple[str, ...]
    reasons: dict[str, str]

    def applied(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return a whole environment with the changes made."""
        return {
            **{name: value for name, value in environ.items() if name not in self.unset},
            **self.set,
        }


def is_shared(folder: str) -> bool:
    """Tell whether others write in a folder: it is another's, or its mode lets them."""
    try:
        status = os.stat(folder)
    except OSError:
        return False
    return status.st_uid != os.geteuid() or bool(status.st_mode & _OTHERS_MAY_WRITE)


def variables(
    keep: str,
    *,
    offline: Decision,
    environ: Mapping[str, str],
    upstream: str | None = None,
    chosen: bool = False,
    shared: Callable[[str], bool] = is_shared,
) -> Environment:
    """Return what an environment needs so that loaders started in it use the keep at `keep`.

    `upstream` is the endpoint that the keep's own settings name, if they do; `chosen` says that
    modelkeep itself would not find this keep in the environment. Looks only at the status of
    HF_HOME and of a token in it.
    """
    plan = _Plan(environ)
    plan.put("HF_HUB_CACHE", os.path.join(keep, "hub"), "models come from the keep")
    plan.put("HF_HUB_DISABLE_SHARED_BLOBS", "1", "the keep shares content itself, and verifies it")
    if chosen:
        plan.put("MODELKEEP_HOME", keep, "so that modelkeep finds the same keep")
    if upstream:
        plan.put("HF_ENDPOINT", upstream, "keep.toml names it as upstream")
    for name, reason in _RIVALS.items():
        if name in environ:
            plan.drop(name, reason)
    for name in empty_variables(environ):
        plan.drop(name, "it is empty, which is not the same as unset")
    if environ.get("TRANSFORMERS_CACHE"):
        plan.warnings.append(
            "TRANSFORMERS_CACHE has no effect since transformers 5; remove it where it is set"
        )
    _keep_private(plan, keep, shared)
    _offline(plan, offline)
    return Environment(plan.set, tuple(plan.unset), offline, tuple(plan.warnings), plan.reasons)


def empty_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the loaders' variables that are set to nothing, which they take at its word."""
    return sorted(
        name
        for name, value in environ.items()
        if not value and (name.startswith(_PREFIXES) or name == "XDG_CACHE_HOME")
    )


class _Plan:
    """The changes as they come together."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.set: dict[str, str] = {}
        self.unset: list[str] = []
        self.warnings: list[str] = []
        self.reasons: dict[str, str] = {}

    def put(self, name: str, value: str, reason: str) -> None:
        old = self.environ.get(name)
        if old and old != value:
            reason += f" (instead of {old})"
        self.set[name] = value
        self.reasons[name] = reason

    def drop(self, name: str, reason: str) -> None:
        if name not in self.set and name not in self.unset:
            self.unset.append(name)
            self.reasons[name] = reason


def _keep_private(plan: _Plan, keep: str, shared: Callable[[str], bool]) -> None:
    """See that nothing but models lands in a shared place."""
    environ = plan.environ
    own = os.path.join(cache_home(environ), "huggingface")
    home = expanded(environ.get("HF_HOME") or own, environ)
    in_keep = inside(home, keep)
    exposed = in_keep or (bool(environ.get("HF_HOME")) and shared(home))
    if exposed and environ.get("HF_HOME"):
        where = "inside the keep" if in_keep else "a place that others write in"
        plan.warnings.append(
            f"HF_HOME={environ['HF_HOME']} is {where}: share HF_HUB_CACHE instead,"
            " since saving a token there locks the others out"
        )
    if inside(own, keep):
        own = os.path.join(cache_home(environ), "modelkeep-loaders")
    for name, folder in {**_PRIVATE, **_COMPILED}.items():
        if value := environ.get(name):
            if inside(expanded(value, environ), keep):
                plan.put(name, os.path.join(own, folder), "it must not lie in the keep")
        elif exposed and name in _PRIVATE:
            if name == "HF_TOKEN_PATH" and os.path.exists(os.path.join(home, folder)):
                continue  # who has logged in there stays logged in
            plan.put(name, os.path.join(own, folder), "it would lie in HF_HOME, which is shared")


def _offline(plan: _Plan, offline: Decision) -> None:
    hub, transformers = (
        plan.environ.get(name) or "" for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
    if hub and not is_true(hub) and is_true(transformers):
        plan.warnings.append(
            f"HF_HUB_OFFLINE={hub} wins over TRANSFORMERS_OFFLINE={transformers}; remove one"
        )
    if offline.value:
        plan.put("HF_HUB_OFFLINE", "1", offline.reason)
    elif is_true(transformers):
        plan.put("HF_HUB_OFFLINE", "0", f"{offline.reason}; TRANSFORMERS_OFFLINE would win else")
    elif is_true(hub):
        plan.drop("HF_HUB_OFFLINE", offline.reason)
    # HF_HUB_OFFLINE may have been dropped for being empty.
    plan.unset = [name for name in plan.unset if name not in plan.set]
