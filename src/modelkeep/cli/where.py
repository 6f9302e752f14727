"""`modelkeep where`."""

from __future__ import annotations

import click

from modelkeep.cli import human
from modelkeep.cli.document import fields
from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.cli.table import Table
from modelkeep.hub.where import LocatedFile, Where


@click.command(
    "where",
    cls=Command,
    examples=(
        "modelkeep where org/name",
        "modelkeep where org/name model.safetensors",
        'llama-server -m "$(modelkeep where org/name model.gguf --format quiet)"',
    ),
)
@click.argument("repo", metavar="REPO[@REV]", type=REPO)
@click.argument("file", required=False)
@click.pass_obj
def command(invocation: Invocation, repo: str, file: str | None) -> None:
    """Show which files a loader opens, and why those.

    Looks where a stock loader started from this shell looks, then in the keep. LINKS counts the
    names that share the file's space. INTACT is yes while the file is as it was when last hashed,
    no when it was found bad or has changed since, and unknown when it was never hashed.
    """
    found = invocation.open_keep().where(repo, file)
    invocation.output.emit(
        fields(found),
        human=_one(found.files[0]) if file else [_all(found)],
        quiet=[str(located.path) for located in found.files],
    )
    decided = found.decided_by
    by = ", ".join(dict.fromkeys((decided.name, decided.source)))
    invocation.output.remark(f"loaders of this shell look in {decided.value} ({by})")
    if not any(located.path.is_relative_to(decided.value) for located in found.files):
        invocation.output.remark("it is not there; this is what the keep has")


def _all(found: Where) -> Table:
    return Table(
        ("file", "size", "links", "intact", "digest", "path"),
        [
            (
                located.file,
                human.size(located.size),
                str(located.links),
                _intact(located),
                _short_digest(located),
                str(located.path),
            )
            for located in found.files
        ],
        right=frozenset({"size", "links"}),
    )


def _one(located: LocatedFile) -> list[str]:
    return [
        str(located.path),
        f"  blob    {located.blob}",
        f"  digest  {located.digest or 'none: the name is no checksum'}",
        f"  size    {human.size(located.size)} ({located.size:,} bytes)",
        f"  links   {located.links}",
        f"  intact  {_intact(located)}, hashed {human.ago(located.checked_at)}",
    ]


def _intact(located: LocatedFile) -> str:
    return {True: "yes", False: "NO", None: "unknown"}[located.intact]


def _short_digest(located: LocatedFile) -> str:
    digest = located.digest
    return f"{digest.algorithm}:{digest.hex[:8]}" if digest else "-"
