"""`modelkeep adopt`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from modelkeep.cli import human
from modelkeep.cli.confirm import agree
from modelkeep.cli.document import error as error_document
from modelkeep.cli.document import plain
from modelkeep.cli.options import Command, Invocation
from modelkeep.errors import AccessError, ModelkeepError, NotFoundError, UsageError
from modelkeep.fs import accounts
from modelkeep.hub.adopt.plan import Adopted, preview
from modelkeep.hub.adopt.undo import Undone, undone
from modelkeep.keep import Keep


@click.command(
    "adopt",
    cls=Command,
    examples=(
        "modelkeep adopt ~/.cache/huggingface/hub",
        "modelkeep adopt ~/.cache/huggingface /data/hub --dry-run",
        "modelkeep adopt ~/.cache/huggingface/hub --merge --share",
        "modelkeep adopt --undo ~/.cache/huggingface/hub",
    ),
)
@click.argument("caches", metavar="[CACHE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--merge", is_flag=True, help="Move it into the keep; a link takes its place.")
@click.option("--share", is_flag=True, help="Even where others can then read what was private.")
@click.option("--undo", is_flag=True, help="Give caches back, or the latest one.")
@click.option("--dry-run", is_flag=True, help="Show the plan, from names alone; change nothing.")
@click.pass_obj
def command(
    invocation: Invocation,
    caches: tuple[Path, ...],
    merge: bool,
    share: bool,
    undo: bool,
    dry_run: bool,
) -> int:
    """Take existing caches into the keep, by sharing or merging.

    A cache stays where it is and shares its files with the keep: what the keep has gives its space
    back, the rest is the keep's from now on. `--merge` goes further: all repos move into the keep's
    own cache, and a link stands where the old one was, so that a group has one copy and nobody sets
    a variable. Every file is hashed first; what is corrupt stays as it is, and the exit code is 1.
    """
    if undo and (merge or share):
        raise UsageError("--undo goes without --merge and --share")
    if not caches and not undo:
        raise UsageError(
            "name a cache", hint="such as ~/.cache/huggingface/hub; modelkeep alone lists them"
        )
    _become_owner(invocation, caches)
    if undo:
        _undo(invocation, invocation.open_keep(), caches, dry_run)
        return 0
    keep = invocation.foresee_keep()
    return _adopt(invocation, keep, caches, merge, share, dry_run)


def _adopt(
    invocation: Invocation,
    keep: Keep,
    caches: Sequence[Path],
    merge: bool,
    share: bool,
    dry_run: bool,
) -> int:
    plans = keep.plan_adoption(caches, merge=merge, share=share)
    expected = [preview(plan) for plan in plans]
    failed: ModelkeepError | None = None
    if dry_run:
        done = expected
    else:
        if any(plan.pending or plan.journal or plan.merge for plan in plans):
            agree(
                invocation,
                [_planned(one) for one in expected],
                "adopt?",
                declined="nothing was adopted",
            )
        if not keep.store.layout.header.exists():
            keep = invocation.open_keep(create=True)
            plans = keep.plan_adoption(caches, merge=merge, share=share)
        with invocation.output.progress("adopt") as progress:
            done = []
            try:
                for plan in plans:
                    done.append(keep.adopt(plan, progress))
            except ModelkeepError as error:
                if not done:
                    raise
                failed = error
    _say(invocation, keep, caches, done, dry_run, failed)
    if failed:
        invocation.output.complain(failed.message, failed.hint)
        return failed.exit_code
    return 1 if any(one.corrupt for one in done) else 0


def _say(
    invocation: Invocation,
    keep: Keep,
    caches: Sequence[Path],
    done: Sequence[Adopted],
    dry_run: bool,
    failed: ModelkeepError | None,
) -> None:
    document = _adoption(done, dry_run)
    if failed:
        document["error"] = error_document(failed, failed.exit_code)
    invocation.output.emit(
        document,
        human=[line for one in done for line in _lines(one)] or [_linked(keep, caches)],
        quiet=[str(one.journal) for one in done if one.journal],
    )
    changed = dict.fromkeys(shlex.quote(str(one.cache)) for one in done if one.journal)
    if changed:
        invocation.output.remark(f"undo it: modelkeep adopt --undo {' '.join(changed)}")


def _undo(invocation: Invocation, keep: Keep, caches: Sequence[Path], dry_run: bool) -> None:
    plans = keep.plan_undo(caches)
    expected = [undone(plan, dry_run=True) for plan in plans]
    if dry_run:
        done = expected
    else:
        lines = [f"give back  {_restored(one)}" for one in expected]
        agree(invocation, lines, "go back to what it was?", declined="nothing was undone")
        with invocation.output.progress("undo") as progress:
            done = [keep.undo(plan, progress) for plan in plans]
    would = "would give back" if dry_run else "gave back"
    invocation.output.emit(
        {
            "files": sum(one.files for one in done),
            "bytes_restored": sum(one.bytes_restored for one in done),
            "skipped": [skipped for one in done for skipped in one.skipped],
            "dry_run": dry_run,
            "caches": plain(done),
        },
        human=[
            line
            for one in done
            for line in (
                *(f"skipped  {left.path}\n         {left.reason}" for left in one.skipped),
                f"{would} {_restored(one)}",
            )
        ],
        quiet=[str(one.cache) for one in done],
    )
    if not dry_run:
        invocation.output.remark(
            "what nothing uses any more leaves the keep after a day with: modelkeep gc"
        )


def _adoption(done: Sequence[Adopted], dry_run: bool) -> dict[str, object]:
    journals = [one.journal for one in done if one.journal]
    return {
        "files": sum(one.files for one in done),
        "bytes_total": sum(one.bytes_total for one in done),
        "bytes_shared": sum(one.bytes_shared for one in done),
        "bytes_freed": sum(one.bytes_freed for one in done),
        "skipped": [skipped for one in done for skipped in one.skipped],
        "corrupt": [corrupt for one in done for corrupt in one.corrupt],
        "broken": [broken for one in done for broken in one.broken],
        "mended": sum(one.mended for one in done),
        "journal": journals[-1] if journals else None,
        "dry_run": dry_run,
        "caches": plain(done),
    }


def _planned(one: Adopted) -> str:
    how = "merge" if one.merge else "share"
    return f"{how}  {one.cache}: {_what(one)}, {human.size(one.bytes_freed)} to come back"


def _lines(one: Adopted) -> list[str]:
    lines = [
        f"{word}  {left.path}\n         {left.reason}"
        for word, several in (
            ("corrupt", one.corrupt),
            ("skipped", one.skipped),
            ("broken ", one.broken),
        )
        for left in several
    ]
    did = ("would merge" if one.merge else "would share") if one.dry_run else "adopted"
    if not one.dry_run and not one.bytes_shared and not one.journal and one.skipped:
        did = "nothing could be shared of"
    freed = "would come back" if one.dry_run else "given back"
    lines.append(
        f"{did} {one.cache}: {_what(one)}; {human.size(one.bytes_shared)} shared,"
        f" {human.size(one.bytes_freed)} {freed}"
    )
    if one.mended:
        lines.append(f"mended   {human.counted(one.mended, 'pointer')} that led to nothing")
    if one.set_aside:
        lines.append(f"aside    {one.set_aside} holds what the keep has no place for")
    return lines


def _what(one: Adopted) -> str:
    return f"{human.counted(one.files, 'file')}, {human.size(one.bytes_total)}"


def _restored(one: Undone) -> str:
    what = f"{human.counted(one.files, 'file')}, {human.size(one.bytes_restored)}"
    return f"{one.cache}: {what} of its own"


def _linked(keep: Keep, caches: Sequence[Path]) -> str:
    return f"{', '.join(map(str, caches))}: a link to the keep's {keep.hub.directory} already"


def _become_owner(invocation: Invocation, caches: Sequence[Path]) -> None:
    """As root, go on as the one user to whom the caches belong.

    Links in a cache lead where its owner wants, and the files that end up in the keep are to be
    his: root's rights would only do harm.
    """
    if os.geteuid() != 0:
        return
    owners = set()
    for cache in caches:
        with suppress(OSError):  # what is wrong with it is said later
            owners.add(cache.lstat().st_uid)
    if len(owners) != 1 or owners == {0}:
        return
    owner = owners.pop()
    # What is imported later must still be readable: this program, and the Python that runs it.
    closed = [path for path in (__file__, os.__file__) if not accounts.may_read(owner, path)]
    if closed:
        raise AccessError(
            f"`{caches[0]}` belongs to uid {owner}, who cannot read this modelkeep",
            hint="let that user run a modelkeep of his own, or install it outside of root's home",
            path=closed[0],
        )
    user = accounts.become(owner)
    if user is None:
        raise NotFoundError(
            f"`{caches[0]}` belongs to a uid that this machine does not know",
            hint="let that user run it",
            path=caches[0],
        )
    invocation.output.remark(f"working as {user}, to whom it belongs")
