"""`modelkeep leases`."""

from __future__ import annotations

import click

from modelkeep.cli import human
from modelkeep.cli.confirm import agree
from modelkeep.cli.document import fields
from modelkeep.cli.options import REPO, Command, Invocation
from modelkeep.cli.table import Table
from modelkeep.keep import Keep
from modelkeep.keep.holding import LeaseListing, ListedLease, UnreadableLease
from modelkeep.store.leases import letting_go

_ID = 8  # enough digits of an id to tell it from others


@click.command(
    "leases",
    cls=Command,
    examples=(
        "modelkeep leases",
        "modelkeep leases org/name --format json",
        "modelkeep leases --drop 3f2a91c0",
    ),
)
@click.argument("repo", required=False, type=REPO)
@click.option("--drop", "ids", multiple=True, metavar="ID", help="End a lease; repeatable.")
@click.pass_obj
def command(invocation: Invocation, repo: str | None, ids: tuple[str, ...]) -> None:
    """Show what is in use or pinned, and by whom.

    What is held cannot be removed. A lease ends with its process, as far as that can be seen from
    here: what runs on another machine or in another container ends it, or it is over after a day.
    `--drop` ends one at once; of what still holds it asks.
    """
    keep = invocation.open_keep()
    if ids:
        _drop(invocation, keep, ids)
        return
    listing = keep.leases(repo)
    invocation.output.emit(
        fields(listing),
        human=_shown(listing),
        quiet=[*(each.id for each in listing.leases), *(each.id for each in listing.unreadable)],
    )
    if not listing.leases and not listing.unreadable:
        invocation.output.remark("nothing is held")


def _drop(invocation: Invocation, keep: Keep, ids: tuple[str, ...]) -> None:
    found = keep.find_leases(*ids)
    agree(invocation, [_words(each) for each in found if _holds(each)], "end these?")
    dropped = keep.drop_leases(*(each.id for each in found))
    invocation.output.emit(
        {"dropped": [each.id for each in dropped]},
        human=[f"ended {_words(each)}" for each in dropped],
        quiet=[each.id for each in dropped],
    )


def _holds(each: ListedLease | UnreadableLease) -> bool:
    return isinstance(each, UnreadableLease) or each.holds


def _words(each: ListedLease | UnreadableLease) -> str:
    if isinstance(each, UnreadableLease):
        return f"{each.id}: cannot be read, may hold anything"
    what = "pin" if each.kind == "pin" else "lease"
    words = f"{each.id[:_ID]}: {what} of {each.user} on {human.revision(each.name)}"
    return f"{words}: {each.reason}" if each.reason else words


def _shown(listing: LeaseListing) -> list[str | Table]:
    rows = [
        (
            human.revision(lease.name),
            _state(lease),
            _who(lease),
            human.ago(lease.created_at),
            lease.reason,
        )
        for lease in listing.leases
    ]
    ids = [lease.id[:_ID] for lease in listing.leases]
    columns = ("repo", "state", "by", "since", "reason", "id")
    table = Table(columns, [(*row, id_) for row, id_ in zip(rows, ids, strict=True)])
    shown: list[str | Table] = [table] if rows else []
    return shown + [
        f"`{each.path}` cannot be read, so everything counts as in use\n"
        f"  look at it, then: {letting_go(each.path)}"
        for each in listing.unreadable
    ]


def _state(lease: ListedLease) -> str:
    if lease.kind == "pin":
        return "pinned"
    if not lease.holds:
        return "ended"
    return "running" if lease.owner and lease.owner.running else "in use"


def _who(lease: ListedLease) -> str:
    return f"{lease.user}, {lease.owner.pid} on {lease.owner.host}" if lease.owner else lease.user
