"""Whether there is a keep, whether it opens, and whether what it says of itself agrees."""

from __future__ import annotations

import json
import os
import stat
from shlex import quote

from modelkeep.errors import AccessError, ModelkeepError
from modelkeep.fs import accounts, sharing
from modelkeep.fs.oserrors import explained
from modelkeep.fs.space import readable
from modelkeep.runtime.doctor.interface import Check, Finding, Status
from modelkeep.runtime.doctor.permissions import let_read
from modelkeep.runtime.doctor.subject import Subject, Unavailable
from modelkeep.runtime.doctor.words import or_root
from modelkeep.settings import KEEP_FILE, read_keep_settings
from modelkeep.sizes import as_option
from modelkeep.store.store import Store


class Present(Check):
    """There is a keep where one is looked for."""

    id = "keep.present"

    def look(self, subject: Subject) -> Finding:
        """Look for it."""
        directory, place = subject.directory, subject.place
        chosen = "the default place" if place.name == "default" else f"from {place.name}"
        store = directory / "store"
        if not subject.answers:
            return self.bad(
                f"the file system under {directory} does not answer",
                "look at the server behind it, or unmount it: umount -l",
            )
        try:
            with explained("looking for the keep", directory):
                if stat.S_ISDIR(store.stat().st_mode):
                    return self.ok(f"{directory} ({chosen})")
            return self.bad(f"{store} is no folder", "move it away")
        except AccessError as error:
            return self.bad(error.message, sharing.what_is_lacking(directory) or error.hint)
        except (FileNotFoundError, ModelkeepError):
            return self._missing(subject, chosen)

    def _missing(self, subject: Subject, chosen: str) -> Finding:
        directory, place = subject.directory, subject.place
        for link in (directory, directory / "store"):
            if link.is_symlink():
                where = link.readlink()
                return self.bad(f"{link} is a link to {where}, which is not there", "mount it")
        evidence = f"there is no keep at {directory} ({chosen})"
        fix = f"start one: modelkeep init {quote(str(directory))}, or pull something"
        if place.name in ("--keep", "MODELKEEP_HOME"):
            return self.bad(evidence, fix)
        return Finding(Status.WARN, evidence, fix)


class Header(Check):
    """STORE.json is there, is whole, and has a format this version knows."""

    id = "keep.header"

    def look(self, subject: Subject) -> Finding:
        """Open the store."""
        header = subject.layout.header
        try:
            Store.open(subject.layout.root)
        except FileNotFoundError:
            fix = f"modelkeep init {quote(str(subject.directory))} completes it"
            return self.bad(f"{header} is missing: the keep was never finished, or lost it", fix)
        except ModelkeepError as error:
            return self.bad(error.message, error.hint)
        fields = json.loads(header.read_bytes())
        made = fields.get("created_at", "an unknown time")
        return self.ok(f"format {fields['format']}, {fields.get('mode')}, made {made}")


class Settings(Check):
    """keep.toml can be read, and every setting in it is known."""

    id = "keep.settings"

    def look(self, subject: Subject) -> Finding:
        """Read it."""
        path = subject.layout.root.parent / KEEP_FILE
        try:
            read_keep_settings(path.parent)
        except ModelkeepError as error:
            return self.bad(error.message, error.hint)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return self.ok(f"{path} is missing: all settings have their defaults")
        if (
            stat.S_ISREG(status.st_mode)
            and not status.st_mode & stat.S_IRGRP
            and _is_group(subject)
        ):
            return self.bad(
                f"{path} cannot be read by the group, so that the keep opens for none of it",
                f"{or_root([status.st_uid])}: chmod a+r {quote(str(path))}",
                *let_read(subject.directory, path, status),
            )
        return self.ok(f"{path} is understood")


class Agreement(Check):
    """keep.toml and STORE.json name the same mode."""

    id = "keep.agreement"

    def look(self, subject: Subject) -> Finding:
        """Compare them."""
        said, made = subject.settings.mode, subject.store.mode
        if said == made or not (subject.directory / KEEP_FILE).exists():
            return self.ok(f"the keep is {made}")
        return self.bad(
            f"keep.toml says `{said}`, and the keep was made as `{made}`, which counts",
            f'write mode = "{made}" into {subject.directory / KEEP_FILE}',
        )


class Group(Check):
    """The group that keep.toml names exists, and is the one the keep belongs to."""

    id = "keep.group"

    def look(self, subject: Subject) -> Finding:
        """Look the group up."""
        import grp

        if not subject.is_group:
            return self.skip("a private keep has no group")
        gid, named = subject.directory.stat().st_gid, subject.settings.group
        if named is None or named == str(gid):
            return self.ok(f"the keep belongs to the group `{accounts.group(gid)}`")
        try:
            wanted = grp.getgrnam(named).gr_gid
        except KeyError:
            nameless = f"keep.toml names the group `{named}`, which does not exist here"
            if accounts.is_member(gid):
                return self.ok(f"{nameless}; the keep belongs to {gid}, in which you are")
            fix = f"groupadd --gid {gid} {quote(named)}, or correct keep.toml"
            return Finding(Status.WARN, nameless, fix)
        if wanted != gid:
            return self.bad(
                f"keep.toml names the group `{named}`,"
                f" and the folder belongs to `{accounts.group(gid)}`",
                f"chgrp -R {quote(named)} {quote(str(subject.directory))}, or correct keep.toml",
            )
        return self.ok(f"the keep belongs to the group `{named}`")


class Budget(Check):
    """The keep stays within its budget, and the budget fits on the disk."""

    id = "keep.budget"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Add up what counts for pulls and gc, too."""
        budget = subject.settings.budget
        if budget is None:
            return self.skip("keep.toml sets no budget")
        from modelkeep.hub.removal import collect
        from modelkeep.hub.removal.evict import Wish

        subject.scratch  # noqa: B018 - a reader cannot ask the file system for the time
        plan = collect.plan(subject.store, subject.hub, Wish(keep_under=budget))
        used = plan.bytes_used
        evidence = f"{readable(used)} of {readable(budget)} used"
        if used > budget:
            return self.bad(evidence, subject.command(f"gc --keep-under {as_option(budget)}"))
        disk = os.statvfs(subject.directory)
        room = disk.f_bavail * disk.f_frsize
        if budget - used > room:
            return self.bad(
                f"{evidence}, but only {readable(room)} are free on the disk",
                "lower `budget` in keep.toml",
            )
        return self.ok(evidence)


def _is_group(subject: Subject) -> bool:
    try:
        return subject.is_group
    except Unavailable:
        return False
