"""Makes every stock client of a machine, or of one user, use a keep from the next login on.

What is installed are plain assignments: no program runs at login, and a network that is down at
login decides nothing for the rest of the day.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote

from modelkeep.errors import SettingsError
from modelkeep.fs import durable
from modelkeep.fs.oserrors import explained
from modelkeep.runtime import shells
from modelkeep.runtime.places import config_home, home

PROFILE = Path("/etc/profile.d/modelkeep.sh")

_BEGIN = b"# >>> modelkeep >>>"
_END = b"# <<< modelkeep <<<"


def lines(keep: str | os.PathLike[str], shell: str = "sh") -> str:
    """Return what a shell's start-up file needs so that loaders use a keep. Ends with a newline."""
    directory = Path(keep).absolute()
    variables = {
        "MODELKEEP_HOME": str(directory),
        "HF_HUB_CACHE": str(directory / "hub"),
        "HF_HUB_DISABLE_SHARED_BLOBS": "1",
    }
    return "\n".join(shells.lines(variables, (), shell)) + "\n"


def install(
    keep: str | os.PathLike[str],
    *,
    environ: Mapping[str, str] = os.environ,
    machine: bool | None = None,
    profile: Path = PROFILE,
) -> Path:
    """Write the lines where shells read them at start; return that file.

    For the whole `machine`, which is the default for root where others can read the keep, a file
    of its own, without effect on whoever cannot; else a marked block in the start-up file of the
    user's shell. Doing it again replaces what was written before. The file keeps its owner and
    mode, and changes at once or not at all.
    """
    if machine is None:
        machine = os.geteuid() == 0 and serves_others(keep)
    if machine:
        durable.make_dirs(profile.parent, inherit=False)
        text = b"# Written by `modelkeep init --activate`.\n" + os.fsencode(_guarded(keep))
        durable.write_bytes(profile, text)
        return profile
    path, shell = startup_file(environ)
    target = path.resolve()  # dotfiles are often links into a repository
    durable.make_dirs(target.parent, inherit=False)
    try:
        with explained("reading", target):
            old = target.read_bytes()
    except FileNotFoundError:
        old = b""
    new = _with_block(old, os.fsencode(lines(keep, shell)), path)
    if new != old:
        _replace(target, new)
    return path


def serves_others(keep: str | os.PathLike[str]) -> bool:
    """Tell whether everybody, or a group keep's group, can get to a keep's models."""
    hub = Path(keep).resolve() / "hub"
    with explained("looking at", hub):
        for folder in (hub, *hub.parents):
            mode = folder.stat().st_mode
            needed = stat.S_IROTH | stat.S_IXOTH if folder == hub else stat.S_IXOTH
            of_group = folder in (hub, hub.parent) and mode & stat.S_ISGID
            if mode & needed != needed and not (of_group and mode >> 3 & needed == needed):
                return False
    return True


def _guarded(keep: str | os.PathLike[str]) -> str:
    """Return the lines so that they do nothing for whoever cannot read the keep."""
    hub = quote(str(Path(keep).absolute() / "hub"))
    return f"if [ -r {hub} ] && [ -x {hub} ]; then\n{lines(keep)}fi\n"


def startup_file(environ: Mapping[str, str]) -> tuple[Path, str]:
    """Return the file that the user's shell reads at start, and the language it is in."""
    folder = Path(home(environ))
    match Path(environ.get("SHELL") or "").name:
        case "fish":
            return Path(config_home(environ), "fish", "config.fish"), "fish"
        case "zsh":
            return Path(environ.get("ZDOTDIR") or folder, ".zshrc"), "sh"
        case "bash":
            return folder / ".bashrc", "sh"
        case _:
            return folder / ".profile", "sh"


def _with_block(text: bytes, block: bytes, path: Path) -> bytes:
    """Return a start-up file's text with our block in it, in the old place if there is one."""
    block = _BEGIN + b"\n" + block + _END + b"\n"
    before, begin, rest = text.partition(_BEGIN)
    if not begin:
        if text and not text.endswith(b"\n"):
            text += b"\n"
        return text + (b"\n" if text else b"") + block
    _, end, after = rest.partition(_END)
    if not end:
        raise SettingsError(
            f"`{path}` has the line `{_BEGIN.decode()}` and not `{_END.decode()}`",
            hint="remove what is left of that block",
            path=path,
        )
    return before + block + after.removeprefix(b"\n")


def _replace(path: Path, data: bytes) -> None:
    """Replace a file's bytes at once, keeping its owner and mode."""
    temporary = durable.temporary_beside(path)
    with explained("writing", path):
        try:
            status = path.stat()
        except FileNotFoundError:
            durable.write_bytes(path, data)
            return
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            durable.write_all(fd, data)
            with suppress(PermissionError):  # only root gives files away; the mode still holds
                os.fchown(fd, status.st_uid, status.st_gid)
            durable.set_mode(fd, stat.S_IMODE(status.st_mode))
            durable.sync_file(fd)
            durable.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(fd)
    durable.sync_dir(path.parent)
