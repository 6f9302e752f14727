"""`modelkeep add`."""

from __future__ import annotations

from pathlib import Path

import click

from modelkeep.cli.options import REPO, TYPE, Command, Invocation
from modelkeep.cli.placed import remind, report
from modelkeep.hub.repo import DEFAULT_REVISION, Repo, RepoType


@click.command(
    "add",
    cls=Command,
    examples=(
        "modelkeep add ./checkpoint-900 --as my-team/classifier",
        "modelkeep add ./checkpoint-950 --as my-team/classifier --revision v2",
        "modelkeep add ./corpus --as my-team/corpus --type dataset",
    ),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="ORG/NAME", type=REPO, required=True, help="Its name.")
@click.option(
    "--revision",
    metavar="REV",
    help=f"The branch or tag to move to it; {DEFAULT_REVISION} where nothing is said.",
)
@click.option("--type", "kind", type=TYPE, help="What it is; a model where nothing is said.")
@click.option("--force", is_flag=True, help="Let a branch that came from upstream follow it.")
@click.pass_obj
def command(
    invocation: Invocation,
    path: Path,
    name: str,
    revision: str | None,
    kind: str | None,
    force: bool,
) -> None:
    """Make a local model folder a repo of the keep.

    Everybody who uses the keep then loads it by its name, without a network. The folder stays as it
    is and may change or go; links to files are followed. The commit follows from the content. A
    later pull of the same name does not replace it without `--force`, nor the other way round.
    """
    keep = invocation.open_keep(create=True)
    with invocation.output.progress(f"add {name}") as progress:
        added = keep.add(path, name, revision, type=kind, force=force, progress=progress)
    revision = revision or name.partition("@")[2] or DEFAULT_REVISION
    report(invocation, added, revision)
    invocation.output.emit({"repos": [added]}, quiet=[str(added.snapshot)])
    loadable = str(Repo(RepoType(added.type), added.repo))
    if revision != DEFAULT_REVISION:
        loadable += f"@{revision}"
    invocation.output.remark(
        "the Hub does not know this name; loaders that ask it first go on offline alone:\n"
        f"  modelkeep exec --model {loadable} -- python …"
    )
    remind(invocation, keep.hub.directory)
