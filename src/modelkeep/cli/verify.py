"""`modelkeep verify`."""

from __future__ import annotations

import click

from modelkeep.cli import human
from modelkeep.cli.document import fields
from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.store.verify import VerifyReport


@click.command(
    "verify",
    cls=Command,
    examples=(
        "modelkeep verify",
        "modelkeep verify org/name org/other@v1.0",
        "modelkeep verify --jobs 2 --format json",
    ),
)
@click.argument("repos", metavar="[REPO[@REV]]...", nargs=-1, type=REPO)
@click.option("--all", "everything", is_flag=True, help="The whole keep, as without a REPO.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Files at once; one per core if unset."
)
@click.pass_obj
def command(
    invocation: Invocation, repos: tuple[str, ...], everything: bool, jobs: int | None
) -> int:
    """Hash what is stored and compare it with its names.

    Needs no network: the name of every content is its checksum. Covers the store and what loaders
    open in the hub, files that other clients brought included. What is found bad is marked, so that
    nothing new uses it, and `modelkeep pull` repairs it. The exit code is 1 while something is bad.
    """
    if repos and everything:
        raise click.UsageError("--all goes without a REPO")
    keep = invocation.open_keep()
    with invocation.output.progress("verify") as progress:
        found = keep.verify(*repos, jobs=jobs, begin=progress.begin, progress=progress.advanced)
    invocation.output.emit(fields(found), human=_lines(found), quiet=_bad(found))
    if found.corrupt or found.missing:
        invocation.output.remark(
            "repair it: modelkeep pull REPO fetches what is bad or gone, for all that use it;"
            " modelkeep add does so for what was added"
        )
    return 0 if found.ok else 1


def _lines(found: VerifyReport) -> list[str]:
    rate = f", {human.size(found.bytes / found.seconds)}/s" if found.seconds > 0 else ""
    lines = [
        f"corrupt  {bad.path}\n         is {bad.found}; used by {', '.join(bad.repos) or 'nobody'}"
        for bad in found.corrupt
    ]
    lines += [f"missing  {digest}" for digest in found.missing]
    lines += [f"unread   {bad.path}: {bad.reason}" for bad in found.unverifiable]
    bad = len(lines)
    lines += [f"repaired {digest}" for digest in found.repaired]
    verdict = "all intact" if found.ok else f"{human.counted(bad, 'file')} bad"
    how = f"{human.size(found.bytes)} in {human.duration(found.seconds)}{rate}"
    return [*lines, f"{human.counted(found.files, 'file')}, {how}: {verdict}"]


def _bad(found: VerifyReport) -> list[str]:
    corrupt = [bad.digest for bad in found.corrupt]
    unread = [bad.digest or bad.path for bad in found.unverifiable]
    return [str(digest) for digest in (*corrupt, *found.missing, *unread)]
