"""`modelkeep demo`."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from modelkeep.cli import human
from modelkeep.cli.document import fields
from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.cli.table import Table
from modelkeep.settings import keep_directory

if TYPE_CHECKING:
    from modelkeep.runtime.demo.steps import Row


@click.command(
    "demo",
    cls=Command,
    examples=("modelkeep demo", "modelkeep demo org/name --keep ./demo-keep"),
)
@click.argument("repo", metavar="[REPO]", required=False, type=REPO)
@click.pass_obj
def command(invocation: Invocation, repo: str | None) -> None:
    """Run the main job on a real model and show what happened.

    Gets a model, gives it to a second project, loads it with stock transformers without a network,
    gets a second revision, verifies all of it; each in a process of its own. Works in a temporary
    folder and leaves nothing behind, unless --keep names a place for the keep. REPO is MiniLM
    (sentence-transformers/all-MiniLM-L6-v2) unless another one is named.
    """
    from modelkeep.runtime.demo.steps import MINILM, TITLES, Demo, require_loader

    require_loader()
    output = invocation.output

    def starting(number: int) -> None:
        output.remark(f"{number}/{len(TITLES)} {TITLES[number - 1]} …")

    lasting = Path(keep_directory(invocation.keep).value) if invocation.keep else None
    with _scratch(lasting) as work:
        rows = list(Demo(repo or MINILM, lasting or work / "keep", work, starting).rows())
    output.emit(
        {"rows": [fields(row) for row in rows]},
        human=[_table(rows), _total(rows)],
        quiet=[f"{row.step}\t{row.bytes_fetched}\t{row.bytes_stored}" for row in rows],
    )
    if lasting:
        output.remark(f"the keep stays: modelkeep ls --keep {lasting}")


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    """Make a folder that is gone at the end, however that comes: Ctrl-C and SIGTERM included."""

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    beside = keep.parent if keep else None  # where links from the keep can reach
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    before = signal.signal(signal.SIGTERM, end)
    work = Path(
        tempfile.mkdtemp(prefix=".modelkeep-demo-" if keep else "modelkeep-demo-", dir=beside)
    )
    try:
        yield work
    finally:
        # Once it is decided to end, nothing comes between us and a clean place.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        shutil.rmtree(work, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


def _table(rows: Sequence[Row]) -> Table:
    return Table(
        ("step", "fetched", "stored", "on disk", "seconds", "result"),
        [
            (
                f"{number} {row.step}",
                human.size(row.bytes_fetched),
                human.size(row.bytes_stored),
                human.size(row.bytes_on_disk),
                f"{row.seconds:.1f}",
                describe(row),
            )
            for number, (row, describe) in enumerate(zip(rows, _RESULTS, strict=True), 1)
        ],
        right=frozenset({"fetched", "stored", "on disk", "seconds"}),
    )


def _got(row: Row) -> str:
    return (
        f"{human.counted(row.details['files'], 'file')}, {human.size(row.details['bytes_total'])}"
    )


def _shared(row: Row) -> str:
    modes = [
        f"{human.counted(n, 'file')} by {mode}" for mode, n in row.details["modes"].items() if n
    ]
    return f"{human.size(row.details['bytes_total'])} in its own cache: {', '.join(modes)}"


def _loaded(row: Row) -> str:
    details = row.details
    known = "" if details["known_cosine"] is None else f" ({details['known_cosine']:.4f} expected)"
    isolated = ", no network there" if details["without_network"] else ""
    calls = human.counted(details["network_calls"], "network call")
    return f"cosine similarity {details['cosine']:.4f}{known}, {calls}{isolated}"


def _revised(row: Row) -> str:
    files = human.counted(row.details["files"], "file")
    return f"{files}, changed: {', '.join(row.details['changed'])}"


def _verified(row: Row) -> str:
    rate = row.details["bytes_per_second"]
    speed = f", {human.size(rate)}/s" if rate else ""
    return f"{human.counted(row.details['files'], 'file')} intact, every byte hashed{speed}"


_RESULTS = (_got, _shared, _loaded, _revised, _verified)


def _total(rows: Sequence[Row]) -> str:
    fetched = human.size(sum(row.bytes_fetched for row in rows))
    disk = human.size(sum(row.bytes_on_disk for row in rows))
    seconds = human.duration(sum(row.seconds for row in rows))
    got = sum(row.details["bytes_total"] for row in rows if "bytes_total" in row.details)
    copies = human.size(got)
    return f"total: {fetched} fetched, {disk} of disk ({copies} as separate copies), {seconds}"
