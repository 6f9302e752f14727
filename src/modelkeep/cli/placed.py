"""What a person is told after something came into the keep: what it cost and how to load it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelkeep import settings
from modelkeep.cli import human
from modelkeep.cli.loading import loading_line
from modelkeep.cli.options import Invocation
from modelkeep.hub.repo import DEFAULT_REVISION, Repo, RepoType

if TYPE_CHECKING:
    from modelkeep.hub.pulled import Pulled

_HOW = {"hardlink": "linked", "reflink": "cloned", "symlink": "symlinked", "copy": "copied"}


def report(invocation: Invocation, pulled: Pulled, revision: str | None) -> None:
    """Show what came, at what price, and the line that loads it."""
    repo = Repo(RepoType(pulled.type), pulled.repo)
    revision = revision or DEFAULT_REVISION
    what = f"{human.counted(pulled.files, 'file')}, {human.size(pulled.bytes_total)}"
    stored = f"stored {human.size(pulled.bytes_stored)}"
    saved = f"saved {human.size(pulled.bytes_linked)} that was here"
    lines = [
        f"{repo}@{revision}  {human.commit(pulled.commit)}  {what}",
        f"  {fetched(pulled)}, {stored}, {saved}",
    ]
    if pulled.files_placed:
        lines.append(f"  placed  {placement(pulled.modes)}")
    elif pulled.files:
        lines.append("  placed  nothing: all files are where loaders look")
    code = loading_line(pulled.repo, pulled.type, revision, pulled.snapshot)
    lines.append(f"  load    {code or pulled.snapshot}")
    invocation.output.show(lines)


def fetched(pulled: Pulled) -> str:
    """Say what came over the network, and how fast in this run."""
    text = f"fetched {human.size(pulled.bytes_fetched)}{_rate(pulled)}"
    if pulled.bytes_resumed:
        text += f", {human.size(pulled.bytes_resumed)} of it kept from an earlier run"
    return text


def placement(modes: Mapping[str, int]) -> str:
    """Say how files were put where they are."""
    return ", ".join(
        f"{human.counted(count, 'file')} {_HOW[mode]}" for mode, count in modes.items() if count
    )


def activation(invocation: Invocation, hub: Path) -> str | None:
    """Return what to type so that loaders of this shell look in the keep; None where they do."""
    decided = settings.loader_cache()
    try:
        if hub.samefile(decided.value):
            return None
    except OSError:
        pass  # no such folder: certainly not the keep's
    keep = f" --keep {shlex.quote(invocation.keep)}" if invocation.keep else ""
    return f'eval "$(modelkeep env{keep})"'


def remind(invocation: Invocation, hub: Path) -> None:
    """Tell a person whose loaders look elsewhere how to let them use the keep."""
    line = activation(invocation, hub)
    if line:
        cache = settings.loader_cache()
        invocation.output.remark(
            f"loaders of this shell look in {cache.value}; let them look here:"
        )
        invocation.output.remark(f"  {line}")


def _rate(pulled: Pulled) -> str:
    moved = pulled.bytes_fetched - pulled.bytes_resumed
    if not moved or pulled.seconds < 0.1:
        return ""
    rate = human.size(moved / pulled.seconds)
    return f" in {human.duration(pulled.seconds)} ({rate}/s)"
