"""What makes revisions stay, or shows what does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelkeep.errors import InvalidRepoError, NotFoundError, UsageError
from modelkeep.fs.identity import is_running
from modelkeep.hub import held
from modelkeep.hub.asked import asked
from modelkeep.hub.repo import Repo, parse
from modelkeep.keep.opened import OpenKeep
from modelkeep.store.leases import Held, Kind, Lease, Leases, current_user, file_id
from modelkeep.store.marks import wait_out_all


@dataclass(frozen=True, slots=True)
class Owner:
    """The process behind a lease; `running` is None where that cannot be told from here."""

    host: str
    pid: int
    running: bool | None


@dataclass(frozen=True, slots=True)
class ListedLease:
    """A lease or a pin. Times are ISO 8601 UTC; `expires_at` is None for what has no end.

    `repo`, `type` and `revision` are what `name` says; None where it speaks of no repo, or of every
    revision. `blobs` counts the contents it holds by themselves. `holds` is False for one that has
    ended and waits to be swept away.
    """

    id: str
    kind: str
    name: str
    repo: str | None
    type: str | None
    revision: str | None
    blobs: int
    user: str
    reason: str
    owner: Owner | None
    created_at: str
    expires_at: str | None
    holds: bool

    @property
    def is_own(self) -> bool:
        """True where the caller made it."""
        return self.user == current_user()


@dataclass(frozen=True, slots=True)
class UnreadableLease:
    """A file that may hold anything, so that nothing can be removed while it is there."""

    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class LeaseListing:
    """What is held in a keep, pins first, then by age and name."""

    leases: tuple[ListedLease, ...]
    unreadable: tuple[UnreadableLease, ...]


class Holding(OpenKeep):
    """The verbs pin, unpin and leases."""

    def pin(self, *repos: str | Repo, reason: str = "") -> tuple[ListedLease, ...]:
        """Make repos stay, with every revision to come, or revisions: `org/name@revision`.

        A branch stays whatever commit it stands for. Pinning again replaces the caller's own pin.
        NotFoundError, and nothing is pinned, where the keep lacks one of them.
        """
        self.require_writable()
        names = dict.fromkeys(self._name_of_what_is_here(repo) for repo in repos)
        before = [pin for pin in self.leases().leases if pin.kind == Kind.PIN and pin.is_own]
        made = [
            self._leases.take(name, [], kind=Kind.PIN, reason=reason, lifetime_s=None)
            for name in names
        ]
        try:
            wait_out_all(self.store.layout)
            for repo in repos:
                self._name_of_what_is_here(repo)  # a removal may have been quicker
        except BaseException:
            for pin in made:
                self._leases.drop(pin.id)
            raise
        for old in before:
            if old.name in names:
                self._leases.drop(old.id)
        return tuple(map(_listed, made))

    def pins(self, *repos: str | Repo) -> tuple[ListedLease, ...]:
        """Return the pins that `unpin` would end; NotFoundError where one of the names has none.

        A bare name stands for the repo and all of its revisions.
        """
        pins = [lease for lease in self.leases().leases if lease.kind == Kind.PIN]
        found: dict[str, ListedLease] = {}
        for each in repos:
            repo, revision = asked(each, None, None)
            of_repo = [pin for pin in pins if pin.name.partition("@")[0] == str(repo)]
            if revision is not None and revision not in self.hub.refs(repo):
                revision = self.hub.resolve(repo, revision) or revision
            chosen = [pin for pin in of_repo if revision in (None, pin.revision)]
            if not chosen:
                others = ", ".join(f"`{pin.name}`" for pin in of_repo)
                raise NotFoundError(
                    f"`{each}` is not pinned",
                    hint=f"what is pinned of it: {others}" if others else "see: modelkeep leases",
                )
            found |= {pin.id: pin for pin in chosen}
        return tuple(found.values())

    def unpin(self, *repos: str | Repo) -> tuple[ListedLease, ...]:
        """Let go what was pinned, by whomever; return the pins that ended."""
        self.require_writable()
        pins = self.pins(*repos)
        return tuple(pin for pin in pins if self._leases.drop(pin.id))

    def leases(self, repo: str | Repo | None = None) -> LeaseListing:
        """List what is held, in the whole keep or of one repo. What cannot be read may be of any.

        Those that have ended are listed too, until `gc` sweeps them away.
        """
        wanted = None if repo is None else asked(repo, None, None)[0]
        found = self._leases.look()
        leases = [
            lease
            for lease in _all(found)
            if wanted is None or lease.name.partition("@")[0] == str(wanted)
        ]
        return LeaseListing(
            tuple(sorted(leases, key=_order)),
            tuple(UnreadableLease(file_id(path), path) for path in found.unreadable),
        )

    def find_leases(self, *ids: str) -> tuple[ListedLease | UnreadableLease, ...]:
        """Return the leases with these ids, or with ids that begin so; NotFoundError for none."""
        listing = self.leases()
        everything: list[ListedLease | UnreadableLease] = [*listing.leases, *listing.unreadable]
        found: dict[str, ListedLease | UnreadableLease] = {}
        for text in ids:
            matching = [lease for lease in everything if lease.id == text] or [
                lease for lease in everything if text and lease.id.startswith(text)
            ]
            if not matching:
                raise NotFoundError(f"there is no lease `{text}`", hint="see: modelkeep leases")
            if len(matching) > 1:
                raise UsageError(f"`{text}` begins the ids of {len(matching)} leases")
            found[matching[0].id] = matching[0]
        return tuple(found.values())

    def drop_leases(self, *ids: str) -> tuple[ListedLease | UnreadableLease, ...]:
        """End leases, whoever has them and whether they can be read; return those that ended."""
        self.require_writable()
        return tuple(lease for lease in self.find_leases(*ids) if self._leases.drop(lease.id))

    @property
    def _leases(self) -> Leases:
        return self.store.leases

    def _name_of_what_is_here(self, each: str | Repo) -> str:
        repo, revision = asked(each, None, None)
        if revision is not None:
            found = held.find(self.hub, repo, revision)
            return f"{repo}@{revision if revision in found.refs else found.commit}"
        if not self.hub.commits(repo):
            raise NotFoundError(
                f"`{repo}` is not in the keep", hint=f"get it: modelkeep pull {repo}"
            )
        return str(repo)


def _order(lease: ListedLease) -> tuple[bool, str, str]:
    return lease.kind != Kind.PIN, lease.created_at, lease.name


def _all(found: Held) -> list[ListedLease]:
    return [
        *(_listed(lease) for lease in found.leases),
        *(_listed(lease, holds=False) for lease in found.expired),
    ]


def _listed(lease: Lease, *, holds: bool = True) -> ListedLease:
    owner = lease.owner
    try:
        repo, revision = parse(lease.name)
    except InvalidRepoError:
        repo, revision = None, None  # another program's
    return ListedLease(
        id=lease.id,
        kind=lease.kind.value,
        name=lease.name,
        repo=repo.id if repo else None,
        type=repo.type.value if repo else None,
        revision=revision,
        blobs=len(lease.digests),
        user=lease.user,
        reason=lease.reason,
        owner=Owner(owner.host, owner.pid, is_running(owner)) if owner else None,
        created_at=lease.created_at,
        expires_at=lease.expires_at,
        holds=holds,
    )
