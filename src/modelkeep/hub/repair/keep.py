"""Makes good what a verification of a keep found bad or missing.

For each content: a verified replacement is brought from another file on this machine, from a place
somebody named, or from upstream; the store's blob heals in its own inode, so that every hard link
heals; then every other file that should have the content is looked at by itself. What is replaced
is kept in the trash for a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import durable, sharing
from modelkeep.fs.syncpoint import reach
from modelkeep.hub.cache import HubCache
from modelkeep.hub.holds import in_hand
from modelkeep.hub.materialise import OWN_HUB_RUNGS, Materialiser, Placement
from modelkeep.hub.repair import checks, mend
from modelkeep.hub.repair.former import Former
from modelkeep.hub.repair.refetch import Refetcher, origins
from modelkeep.hub.repair.replacements import Replacements
from modelkeep.hub.repo import Repo
from modelkeep.hub.tree import TreeFile
from modelkeep.store import badcopies, heal
from modelkeep.store import meta as metas
from modelkeep.store.digest import Digest, require_digest
from modelkeep.store.heal import Healed
from modelkeep.store.meta import Source
from modelkeep.store.report import Mended, NotRepaired, Unverifiable, VerifyReport
from modelkeep.store.store import Store


@dataclass(slots=True)
class Outcome:
    """What a repair came to: what is good again, why the rest is not, and what cannot be seen."""

    mended: list[Mended] = field(default_factory=list)
    failed: list[NotRepaired] = field(default_factory=list)
    odd: list[Unverifiable] = field(default_factory=list)

    def fail(self, digest: Digest, path: Path | None, error: ModelkeepError) -> None:
        """Note why something was left as it is."""
        why = f"{error.message}; {error.hint}" if error.hint else error.message
        self.failed.append(NotRepaired(digest, None if path is None else str(path), why))

    def applied(self, report: VerifyReport) -> VerifyReport:
        """Return the report as it stands after the repair."""
        good = {mended.path for mended in self.mended}
        failed = {failure.digest for failure in self.failed}
        back = {mended.digest for mended in self.mended if mended.how == "restored"} - failed
        again = (mended.digest for mended in self.mended)
        return replace(
            report,
            corrupt=tuple(bad for bad in report.corrupt if bad.path not in good),
            missing=tuple(digest for digest in report.missing if digest not in back),
            repaired=tuple(dict.fromkeys((*report.repaired, *again))),
            unverifiable=(
                *(odd for odd in report.unverifiable if odd.path not in good),
                *self.odd,
            ),
            repairs=(*report.repairs, *self.mended),
            not_repaired=(*report.not_repaired, *self.failed),
        )


class Repairer:
    """Repairs one keep. Use from one thread; safe beside readers, pulls and other repairs."""

    def __init__(
        self,
        store: Store,
        hub: HubCache,
        replacements: Replacements,
        refetcher: Refetcher,
    ) -> None:
        self._store = store
        self._hub = hub
        self._replacements = replacements
        self._refetcher = refetcher
        self._materialiser = Materialiser(store, hub, store.roots.own_hub(), OWN_HUB_RUNGS)
        self._out = Outcome()

    def repair(self, report: VerifyReport, missed: Mapping[Digest, Iterable[Repo]]) -> Outcome:
        """Repair what a report names. What cannot be is told in the outcome, and the rest goes on.

        A crash, or KeyboardInterrupt, leaves each content good or marked bad.
        """
        bad: dict[Digest, list[Path]] = {}
        for one in report.corrupt:
            bad.setdefault(one.digest, []).append(Path(one.path))
        for odd in report.unverifiable:
            if odd.digest is not None and Path(odd.path) == self._store.path(odd.digest):
                bad.setdefault(odd.digest, []).append(Path(odd.path))
        for digest in report.missing:
            bad.setdefault(digest, [])
        for digest in sorted(bad):
            try:
                self._repair(digest, bad[digest], sorted(missed.get(digest, ()), key=str))
            except FileNotFoundError:
                continue  # a removal was quicker
            except ModelkeepError as error:
                self._out.fail(digest, None, error)
        badcopies.sweep(self._store.layout)
        return self._out

    def heal_shared(self, report: VerifyReport) -> Outcome:
        """Repair what a report of another cache names where it is the store's own inode."""
        for bad in report.corrupt:
            path, blob = Path(bad.path), self._store.path(bad.digest)
            if not durable.same_inode(path, blob):
                continue
            try:
                how, source = self._restore(bad.digest)
            except (ModelkeepError, FileNotFoundError):
                continue  # it is replaced as any other file
            if durable.same_inode(path, blob):
                self._good(bad.digest, path, how, source)
        return self._out

    def _repair(self, digest: Digest, paths: list[Path], missed: list[Repo]) -> None:
        blob = self._store.path(digest)
        source = "the store"
        with Former(blob) as former:
            if blob in paths or not self._store.has_sound(digest):
                how, source = self._restore(digest)
                self._good(digest, blob, how, source)
            copies = [path for path in paths if path != blob]
            if former.names_left():
                copies += self._former_copies(digest)
            for path in dict.fromkeys(copies):
                try:
                    self._mend(digest, path)
                    self._good(digest, path, "replaced", source)
                except FileNotFoundError:
                    continue  # a removal was quicker
                except ModelkeepError as error:
                    self._out.fail(digest, path, error)
            for repo in missed:
                with self._in_hand(digest, repo):
                    if not self._hub.folder(repo).is_dir():
                        continue  # as above
                    self._place(digest, repo)
                path = self._hub.directory / self._hub.blob_name(repo, digest)
                self._good(digest, path, "restored", source)
            if left := former.unhealed(digest, blob):
                self._out.odd.append(left)

    def _good(self, digest: Digest, path: Path, how: str, source: str) -> None:
        self._out.mended.append(Mended(digest, str(path), how, source))

    def _restore(self, digest: Digest) -> tuple[str, str]:
        """See that the store has good bytes; return how that was done and where from."""
        layout = self._store.layout
        meta = metas.read(layout.meta(digest))
        size = self._size(digest)
        part = layout.tmp / durable.unique_name("repair-")
        how = "restored"

        def deliver(path: Path, source: Source | None) -> None:
            nonlocal how
            how = self._give(digest, path, source)

        try:
            found = self._replacements.bring(digest, size, part, besides=self._store.path(digest))
            if found is not None:
                deliver(part, None)
                return how, str(found)
            fetched = self._refetcher.fetch(
                digest,
                origins(meta, [self._hub], digest),
                deliver,
                partials=layout.partials,
                locks=layout.locks,
            )
            return how, f"{fetched.repo} at {fetched.commit[:12]} upstream"
        finally:
            durable.remove(part)

    def _give(self, digest: Digest, part: Path, source: Source | None) -> str:
        """Let the store's blob have the bytes of a verified file, which is then gone."""
        reach("repair:brought")
        blob = self._store.path(digest)
        if blob.is_dir() and not blob.is_symlink():
            raise ModelkeepError(f"a folder stands at `{blob}`", hint="move it away")
        if self._store.has(digest):
            with suppress(FileNotFoundError):  # a collector was quicker: then it is published
                how = heal.heal(self._store.layout, digest, part)
                if source is not None:
                    self._store.describe(digest, source)
                return "rewritten" if how is not Healed.REPLACED else "replaced"
        self._store.publish(part, digest, source=source, verified=True)
        return "restored"

    def _size(self, digest: Digest) -> int | None:
        meta = metas.read(self._store.layout.meta(digest))
        if meta is not None and meta.verified_at is not None:
            return meta.size
        for repo in self._hub.repos():
            for commit in self._hub.commits(repo):
                for file in self._hub.tree(repo, commit) or ():
                    if file.digest == digest:
                        return file.size
        return None

    def _former_copies(self, digest: Digest) -> list[Path]:
        """Return the files that shared the blob's inode until it was replaced, as far as known."""
        known = [
            self._hub.directory / self._hub.blob_name(repo, digest) for repo in self._hub.repos()
        ]
        for root in self._store.roots:
            with suppress(ModelkeepError):
                known += [path for found, path in checks.used_in(root) if found == digest]
        return [
            path
            for path in known
            if path.is_file() and not path.is_symlink() and not _is_good(path, digest)
        ]

    def _mend(self, digest: Digest, path: Path) -> None:
        """Give a file outside the store the bytes that the store has.

        FileNotFoundError where it has been removed meanwhile.
        """
        heal.keep_bad_bytes(self._store.layout, digest, path)
        reach("repair:kept")
        repo, rest = self._within_hub(path)
        if repo is None:
            self._mend_elsewhere(digest, path)
        else:
            with self._in_hand(digest, repo):
                path.lstat()
                self._place(digest, repo)
                if rest[0] == "snapshots":
                    file = self._file(digest, "/".join(rest[2:]))
                    self._hub.write_snapshot(repo, rest[1], [file])
        badcopies.unmark(self._store.layout, path)

    def _within_hub(self, path: Path) -> tuple[Repo | None, tuple[str, ...]]:
        """Return the repo of the hub in whose folder a path lies, and the path in there."""
        if not path.is_relative_to(self._hub.directory):
            return None, ()
        folder, *rest = path.relative_to(self._hub.directory).parts
        return Repo.from_folder(folder), tuple(rest)

    def _mend_elsewhere(self, digest: Digest, path: Path) -> None:
        """Replace a file of another cache: by the store's inode where one user owns both."""
        for root in self._store.roots:
            if path.is_relative_to(root.directory):
                sharing.refuse_planted(root.directory, path.parent)
        blob, temporary = self._store.path(digest), mend.new_name(path)
        shared = blob.stat().st_uid == path.lstat().st_uid and mend.link(blob, temporary)
        stored = Replacements(self._store, ())
        if not shared and stored.bring(digest, None, temporary, besides=path) is None:
            raise ModelkeepError(f"the bytes of `{blob}` went bad meanwhile")
        mend.put(temporary, path)

    def _in_hand(self, digest: Digest, repo: Repo) -> AbstractContextManager[None]:
        """Let nobody remove a repo's content; look inside whether the repo is still there."""
        return in_hand(self._store, repo, None, [digest], reason="modelkeep verify --repair")

    def _place(self, digest: Digest, repo: Repo) -> None:
        """See that a repo of the hub has a content as it has what is pulled."""
        if self._materialiser.place_blobs(repo, [self._file(digest, digest.etag)], Placement()):
            raise ModelkeepError("its content is being removed from the keep")
        reach("repair:placed")

    def _file(self, digest: Digest, path: str) -> TreeFile:
        return TreeFile(path, self._store.path(digest).stat().st_size, digest, digest.etag)


def _is_good(path: Path, digest: Digest) -> bool:
    try:
        require_digest(path, digest)
    except (ModelkeepError, OSError):
        return False
    return True
