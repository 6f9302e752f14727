"""`modelkeep verify`."""

from __future__ import annotations

from functools import partial

import click

from modelkeep.cli import human
from modelkeep.cli.document import fields
from modelkeep.cli.failure import INTERRUPTED
from modelkeep.cli.options import REPO, TIME, Command, Invocation
from modelkeep.errors import ModelkeepError
from modelkeep.keep import Keep
from modelkeep.store.report import Corrupt, VerifyReport


@click.command(
    "verify",
    cls=Command,
    examples=(
        "modelkeep verify",
        "modelkeep verify --max-time 1h --jobs 2",
        "modelkeep verify org/name@v1.0 --repair --from /mnt/backup",
        "modelkeep verify --cache ~/.cache/huggingface/hub",
    ),
)
@click.argument("repos", metavar="[REPO[@REV]]...", nargs=-1, type=REPO)
@click.option("--all", "everything", is_flag=True, help="The whole keep, as without a REPO.")
@click.option(
    "--cache",
    metavar="DIR",
    type=click.Path(),
    help="Any stock Hugging Face cache instead of the keep.",
)
@click.option(
    "--quick/--full",
    default=False,
    help="Hash only what has changed since it was hashed, or every byte (the default).",
)
@click.option(
    "--max-time",
    type=TIME,
    metavar="TIME",
    help="Begin no file that would not be done by then, such as 1h; the next run goes on.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Files at once; one per core if unset."
)
@click.option("--repair", is_flag=True, help="Make good what is bad or missing.")
@click.option(
    "--from",
    "source",
    metavar="PATH",
    type=click.Path(),
    help="A cache, a keep, a folder or a file to repair from, before anything is fetched.",
)
@click.option("--dry-run", is_flag=True, help="With --repair: show what would be made good.")
@click.pass_obj
def command(
    invocation: Invocation,
    repos: tuple[str, ...],
    everything: bool,
    cache: str | None,
    quick: bool,
    max_time: float | None,
    jobs: int | None,
    repair: bool,
    source: str | None,
    dry_run: bool,
) -> int:
    """Hash what is stored and compare it with its names.

    Needs no network: the name of every content is its checksum. Covers the store and what loaders
    open in the hub, files that other clients brought included. What is found bad is marked, so that
    nothing new uses it. A run that was stopped, or had no time for all, leaves the next one to go
    on with what was not verified for longest.

    With --repair good bytes come from other files of this machine, from PATH or from upstream, and
    are hashed before they are used. Files that share a damaged inode all heal at once. What was
    replaced stays in the trash of the keep for a day. The exit code is 1 while anything is bad.
    """
    if bool(repos) + everything + (cache is not None) > 1:
        raise click.UsageError("name repos, or --all, or --cache DIR: one of them")
    if source is not None and not repair:
        raise click.UsageError("--from goes with --repair")
    if dry_run and not repair:
        raise click.UsageError("--dry-run goes with --repair; without it nothing is made good")
    stopped: list[VerifyReport] = []
    keep = _keep(invocation, needed=cache is None)
    if cache is None:
        assert keep is not None
        verify = partial(keep.verify, *repos)
    else:
        from modelkeep.keep.checking import verify_cache

        verify = partial(verify_cache, cache, keep)
    with invocation.output.progress("verify") as progress:
        try:
            found = verify(
                quick=quick,
                max_seconds=max_time,
                jobs=jobs,
                repair=repair and not dry_run,
                source=None if dry_run else source,
                begin=progress.begin,
                progress=progress.advanced,
                interrupted=stopped.append,
                mending=progress,
            )
        except KeyboardInterrupt:
            if not stopped:
                raise
            found = stopped[0]
    invocation.output.emit(
        {**fields(found), "dry_run": dry_run}, human=_lines(found, dry_run), quiet=_bad(found)
    )
    if found.interrupted:
        invocation.output.tell("interrupted; run the same command again to go on")
        return INTERRUPTED
    _advise(invocation, found, repair and not dry_run, cache)
    return 0 if found.ok else 1


def _keep(invocation: Invocation, *, needed: bool) -> Keep | None:
    try:
        return invocation.open_keep()
    except ModelkeepError:
        if needed or invocation.keep is not None:
            raise
        return None


def _advise(invocation: Invocation, found: VerifyReport, repaired: bool, cache: str | None) -> None:
    if not all(bad.marked for bad in found.corrupt):
        invocation.output.warn(
            "you cannot write here, so what is bad could not be marked, and others may go on"
            " using it; tell the owner"
        )
    if (found.corrupt or found.missing) and not repaired:
        where = f" --cache {cache}" if cache else ""
        invocation.output.remark(f"repair it: modelkeep verify{where} --repair [--from PATH]")
    elif found.corrupt or found.missing:
        invocation.output.remark(
            "what is left needs another place with the right bytes: --from PATH, or for what was"
            " added here: modelkeep add"
        )
    if found.remaining.files:
        left = human.counted(found.remaining.files, "file")
        invocation.output.remark(
            f"{left}, {human.size(found.remaining.bytes)}, remain: the same command goes on"
        )


def _lines(found: VerifyReport, dry_run: bool) -> list[str]:
    rate = f", {human.size(found.bytes / found.seconds)}/s" if found.bytes else ""
    lines = [line for bad in found.corrupt for line in _corrupt(bad)]
    lines += [f"missing  {digest}" for digest in found.missing]
    lines += [f"unread   {bad.path}: {bad.reason}" for bad in found.unverifiable]
    lines += [
        f"left as it is: {left.path or left.digest}\n         {left.reason}"
        for left in found.not_repaired
    ]
    if dry_run:
        bad = [bad.path for bad in found.corrupt]
        bad += [odd.path for odd in found.unverifiable if odd.digest is not None]
        lines += [f"would repair {what}" for what in (*bad, *found.missing)]
    told = {mended.digest for mended in found.repairs}
    lines += [
        f"repaired {mended.path}\n         {mended.how}, from {mended.source}"
        for mended in found.repairs
    ]
    lines += [f"repaired {digest}" for digest in found.repaired if digest not in told]
    bad_files, unread = len(found.corrupt) + len(found.missing), len(found.unverifiable)
    verdicts = [f"{human.counted(bad_files, 'file')} bad"] if bad_files else []
    verdicts += [f"{unread:,} unread"] if unread else []
    verdict = ", ".join(verdicts) or "all intact"
    if found.interrupted:
        verdict = f"stopped; so far {verdict}"
    how = f"{human.size(found.bytes)} in {human.duration(found.seconds)}{rate}"
    unchanged = f", {found.unchanged:,} unchanged" if found.unchanged else ""
    return [*lines, f"{human.counted(found.files, 'file')}, {how}{unchanged}: {verdict}"]


def _corrupt(bad: Corrupt) -> list[str]:
    shared = f"; {bad.links} names share it" if bad.links > 1 else ""
    what = f"is {bad.found}" if bad.found else "cannot be read"
    return [
        f"corrupt  {bad.path}",
        f"         {what}; used by {', '.join(bad.repos) or 'nobody'}{shared}",
    ]


def _bad(found: VerifyReport) -> list[str]:
    corrupt = [bad.digest for bad in found.corrupt]
    unread = [bad.digest or bad.path for bad in found.unverifiable]
    return [str(digest) for digest in (*corrupt, *found.missing, *unread)]
