"""Whether loaders that are started here use the keep, and write nowhere they should not."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from modelkeep.fs.readers import NOBODY, Readers
from modelkeep.runtime.doctor.interface import Check, Finding, Status
from modelkeep.runtime.doctor.subject import Subject
from modelkeep.runtime.doctor.words import some
from modelkeep.runtime.environment import empty_variables, is_shared
from modelkeep.runtime.places import cache_home, expanded, inside
from modelkeep.settings import loader_cache


class Cache(Check):
    """Loaders look for models in the keep."""

    id = "loaders.cache"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Decide as the Hub's client does where it looks."""
        hub, decided = subject.hub.directory, loader_cache(subject.environ)
        because = "by default" if decided.name == "default" else f"because of {decided.name}"
        try:
            same = hub.samefile(decided.value)
        except OSError:
            same = False  # no such folder: certainly not the keep's
        if same:
            return self.ok(f"{decided.value} is the keep's hub")
        return self.bad(
            f"loaders of this shell look in {decided.value}, {because}",
            f'eval "$({subject.command("env")})", or for every login:'
            f" {subject.command('init --activate')}",
        )


class Home(Check):
    """HF_HOME is nobody else's: saving a token there closes it to all others."""

    id = "loaders.hf_home"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Look at who can write into it."""
        value = subject.environ.get("HF_HOME")
        if not value:
            return self.ok("HF_HOME is not set; tokens are saved in your own home")
        home = expanded(value, subject.environ)
        if subject.answers and inside(home, str(subject.directory)):
            where = "inside the keep"
        elif is_shared(home):
            where = "a place that others write in"
        else:
            return self.ok(f"{home} is yours")
        return self.bad(
            f"HF_HOME={value} is {where}: saving a token there changes its mode to 0700 and"
            " locks the others out, and who can read it can read the token",
            "unset HF_HOME and share HF_HUB_CACHE alone, as `modelkeep env` does",
        )


class Token(Check):
    """Nobody else can read the token that loaders send."""

    id = "loaders.token"

    def look(self, subject: Subject) -> Finding:
        """Look at the mode of the file and of the folders above it; it is not opened."""
        path = _token_path(subject.environ)
        try:
            status = Path(path).stat()
        except OSError:
            return self.skip(f"no token can be seen at {path}")
        evidence = f"{path} has the mode {stat.S_IMODE(status.st_mode):04o}"
        above = Readers.of(Path(os.path.realpath(path)).parent)
        others = above.through(status.st_mode, status.st_gid).beyond([NOBODY])
        if others is None:
            return self.ok(f"{evidence}, and no one else gets to it")
        return self.bad(
            f"{evidence}: {others} can read the token and act in your name",
            f"chmod 600 {quote(path)}, and replace the token if others were there",
        )


class TransformersCache(Check):
    """No variable is set that transformers has given up."""

    id = "loaders.transformers_cache"
    severity = Status.WARN

    def look(self, subject: Subject) -> Finding:
        """Look for TRANSFORMERS_CACHE."""
        value = subject.environ.get("TRANSFORMERS_CACHE")
        if not value:
            return self.ok("TRANSFORMERS_CACHE is not set")
        return self.bad(
            f"TRANSFORMERS_CACHE={value}: transformers 5 ignores it, and transformers 4 looks there"
            " instead of in the keep",
            "unset TRANSFORMERS_CACHE where it is set",
        )


class Empty(Check):
    """No variable of a loader is set to nothing, which loaders take at its word."""

    id = "loaders.empty"

    def look(self, subject: Subject) -> Finding:
        """Look for empty ones."""
        empty = empty_variables(subject.environ)
        if not empty:
            return self.ok("no variable of a loader is empty")
        return self.bad(
            f"set to nothing, which is not the same as unset: {some(empty)}",
            f"unset {' '.join(empty)}",
        )


def _token_path(environ: Mapping[str, str]) -> str:
    if path := environ.get("HF_TOKEN_PATH"):
        return expanded(path, environ)
    home = environ.get("HF_HOME") or f"{cache_home(environ)}/huggingface"
    return f"{expanded(home, environ)}/token"
