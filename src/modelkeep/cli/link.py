"""`modelkeep link`."""

from __future__ import annotations

from pathlib import Path

import click

from modelkeep.cli import human
from modelkeep.cli.document import fields
from modelkeep.cli.options import REPO, TYPE, Command, Invocation
from modelkeep.cli.placed import placement


@click.command(
    "link",
    cls=Command,
    examples=(
        "modelkeep link org/name --into ~/.cache/huggingface/hub",
        "modelkeep link org/name@v1.0 --to ./model",
        "modelkeep link org/name --to /srv/triton/name --hardlink",
    ),
)
@click.argument("repo", metavar="REPO[@REV]", type=REPO)
@click.option(
    "--into", metavar="CACHE", type=click.Path(path_type=Path), help="A stock cache to put it in."
)
@click.option(
    "--to", metavar="DIR", type=click.Path(path_type=Path), help="A plain folder to put it in."
)
@click.option("--hardlink", is_flag=True, help="With --to: share the files; they are read-only.")
@click.option("--symlink", is_flag=True, help="With --into: where nothing better works.")
@click.option("--type", "kind", type=TYPE, help="What the name is, where it does not say it.")
@click.pass_obj
def command(
    invocation: Invocation,
    repo: str,
    into: Path | None,
    to: Path | None,
    hardlink: bool,
    symlink: bool,
    kind: str | None,
) -> None:
    """Give a repo to another cache or to a plain folder.

    A cache shares the keep's files where the file systems allow it, and takes no space. A plain
    folder gets clones or copies, since programs overwrite such files in place; `--hardlink` shares
    them all the same.
    """
    linked = invocation.open_keep().link(
        repo, into=into, to=to, type=kind, hardlink=hardlink, symlink=symlink
    )
    what = f"{human.counted(linked.files, 'file')}, {human.size(linked.bytes_total)}"
    lines = [
        f"{linked.repo}  {human.commit(linked.commit)}  {linked.target}",
        f"  {what}, of which {human.size(linked.bytes_copied)} copied",
        f"  placed  {placement(linked.modes)}",
        *(f"  note    {reason}" for reason in linked.reasons),
    ]
    invocation.output.emit(fields(linked), human=lines, quiet=[str(linked.target)])
