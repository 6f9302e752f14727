"""`modelkeep pull`."""

from __future__ import annotations

import click

from modelkeep.cli import document
from modelkeep.cli.options import RATE, REPO, TYPE, Command, Invocation
from modelkeep.cli.placed import remind, report
from modelkeep.errors import ModelkeepError
from modelkeep.hub.pulled import Pulled
from modelkeep.hub.xet import XetUse


@click.command(
    "pull",
    cls=Command,
    examples=(
        "modelkeep pull sentence-transformers/all-MiniLM-L6-v2",
        "modelkeep pull org/name@v1.0 datasets/org/data",
        "modelkeep pull org/name --include '*.gguf' --limit-rate 10M",
    ),
)
@click.argument("repos", metavar="REPO[@REV]...", nargs=-1, required=True, type=REPO)
@click.option("--type", "kind", type=TYPE, help="What the names are, where they do not say it.")
@click.option("--include", multiple=True, metavar="P", help="Only files that match; repeatable.")
@click.option("--exclude", multiple=True, metavar="P", help="No files that match; repeatable.")
@click.option("--force", is_flag=True, help="Let what `add` made follow upstream again.")
@click.option(
    "--limit-rate", type=RATE, metavar="RATE", help="Bytes a second at most, such as 10M."
)
@click.option(
    "--xet",
    type=click.Choice([use.value for use in XetUse]),
    default=XetUse.AUTO.value,
    help="Whether the Xet library fetches what it can; auto: only what HTTP does not serve.",
)
@click.pass_obj
def command(
    invocation: Invocation,
    repos: tuple[str, ...],
    kind: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    force: bool,
    limit_rate: int | None,
    xet: str,
) -> int:
    """Get models into the keep.

    What the keep has already, under whatever name, is not fetched again. Every byte is checked
    before a loader can see it. An interrupted pull goes on where it stopped; several at once of the
    same thing fetch it once. Makes a private keep where there is none.
    """
    keep = invocation.open_keep(create=True)
    results: list[Pulled | dict[str, object]] = []
    worst = 0
    with keep.together(repos, type=kind):
        for repo in repos:
            try:
                with invocation.output.progress(f"pull {repo}") as progress:
                    pulled = keep.pull(
                        repo,
                        type=kind,
                        include=include,
                        exclude=exclude,
                        force=force,
                        limit_rate=limit_rate,
                        xet=xet,
                        progress=progress,
                    )
            except ModelkeepError as error:
                if len(repos) == 1:
                    raise
                worst = worst or error.exit_code
                results.append({"repo": repo, "error": document.error(error)})
                invocation.output.complain(error.message, error.hint)
            else:
                results.append(pulled)
                report(invocation, pulled, repo.partition("@")[2])
    got = [result for result in results if isinstance(result, Pulled)]
    invocation.output.emit({"repos": results}, quiet=[str(pulled.snapshot) for pulled in got])
    if got:
        remind(invocation, keep.hub.directory)
    return worst
