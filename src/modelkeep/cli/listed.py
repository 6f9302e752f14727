"""A repo of the keep in the words of `ls` and `show`."""

from __future__ import annotations

from modelkeep.cli import human
from modelkeep.hub.listing import ListedRepo, StoreTotals
from modelkeep.hub.repo import Repo, RepoType

COLUMNS = ("repo", "size", "unique", "revisions", "files", "used", "state")
SPARE = ("revisions", "files", "unique", "used")
RIGHT = frozenset({"size", "unique", "revisions", "files"})


def full_name(repo: ListedRepo) -> str:
    """Return the name as other commands take it."""
    return str(Repo(RepoType(repo.type), repo.repo))


def row(repo: ListedRepo) -> tuple[str, ...]:
    """Return a repo's cells for `COLUMNS`."""
    return (
        full_name(repo),
        human.size(repo.bytes_total),
        human.size(repo.bytes_unique),
        str(len(repo.revisions)),
        str(max((revision.files for revision in repo.revisions), default=0)),
        human.ago(repo.last_used),
        state(repo),
    )


def state(repo: ListedRepo) -> str:
    """Say in a word or two what is special about a repo."""
    words = []
    if any(revision.damaged for revision in repo.revisions):
        words.append("corrupt")
    if any(revision.complete is False and not revision.damaged for revision in repo.revisions):
        words.append("partial")
    if not {revision.commit for revision in repo.revisions}.intersection(repo.refs.values()):
        words.append("no ref")  # a loader that names no commit finds nothing
    if repo.bytes_unsettled:
        words.append("unsettled")
    if repo.pinned:
        words.append("pinned")
    if repo.leased:
        words.append("in use")
    if repo.source == "local":
        words.append("local")
    return ", ".join(words) or "ok"


def totals(repos: int, store: StoreTotals) -> str:
    """Return the line below the table."""
    saved = f", {human.size(store.bytes_saved)} saved by sharing" if store.bytes_saved else ""
    return f"{human.counted(repos, 'repo')}; the store holds {human.size(store.bytes)}{saved}"
