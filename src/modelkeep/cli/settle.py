"""`modelkeep settle`."""

from __future__ import annotations

import click

from modelkeep.cli import human
from modelkeep.cli.document import fields
from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.hub.settle import Settled


@click.command(
    "settle",
    cls=Command,
    examples=(
        "modelkeep settle",
        "modelkeep settle org/name datasets/org/data",
        "modelkeep settle --dry-run",
    ),
)
@click.argument("repos", metavar="[REPO]...", nargs=-1, type=REPO)
@click.option("--dry-run", is_flag=True, help="Show what would be hashed and change nothing.")
@click.pass_obj
def command(invocation: Invocation, repos: tuple[str, ...], dry_run: bool) -> int:
    """Take in what stock clients downloaded into the keep.

    Hashes their files, shares with the store what is right, and seals it; what the store had gives
    its space back. Disturbs no running download. Pull, verify and gc do the same on their way.
    Files whose bytes are not what their names say stay as they are, and the exit code is 1.
    """
    keep = invocation.open_keep()
    with invocation.output.progress("settle") as progress:
        settled = keep.settle(*repos, progress=progress, dry_run=dry_run)
    bad = [file.path for file in settled.corrupt]
    invocation.output.emit(fields(settled), human=_lines(settled), quiet=bad)
    if bad:
        invocation.output.remark(
            "modelkeep verify shows what uses them, modelkeep pull REPO fetches them anew"
        )
    return 1 if bad else 0


def _lines(settled: Settled) -> list[str]:
    lines = [f"corrupt  {file.path}\n         {file.reason}" for file in settled.corrupt]
    lines += [f"skipped  {file.path}\n         {file.reason}" for file in settled.skipped]
    if not settled.files:
        return lines or ["nothing to settle: all that clients brought has been taken in"]
    what = f"{human.counted(settled.files, 'file')}, {human.size(settled.bytes_total)}"
    would = "would settle" if settled.dry_run else "settled"
    shared = f"{human.size(settled.bytes_shared)} shared with the store"
    return [*lines, f"{would} {what}: {shared}, {human.size(settled.bytes_freed)} given back"]
