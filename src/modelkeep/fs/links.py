"""The ladder from sharing an inode down to copying bytes.

Hard link, reflink, symbolic link, copy: the first rung that works is taken, and the answer says
which it was and why not a higher one. What decides is the file system's answer to really trying:
neither device numbers (a bind mount of the same disk refuses links) nor names of file systems.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from modelkeep.errors import ModelkeepError
from modelkeep.fs import mounts, oserrors, rungs
from modelkeep.fs.copying import Progress
from modelkeep.fs.rungs import Job, LinkMode, Placed

__all__ = ["COPY_BELOW", "LinkMode", "Linker", "Placed"]

COPY_BELOW = 1 << 20  # configurations and tokenizers, which people edit in place, are smaller


class Linker:
    """Places files, one at a time, from one store into one target area. Thread-safe.

    `rungs` are tried in their order. A rung that the file system does not have is remembered and
    not tried again; one that a single file refuses (an inode of another user, which
    `fs.protected_hardlinks` lets nobody else link) is tried anew with the next file. Files smaller
    than `copy_below` bytes, and empty ones, are always copied: people edit configurations in place.
    """

    def __init__(self, rungs: Sequence[LinkMode], *, copy_below: int = COPY_BELOW) -> None:
        if not rungs:
            raise ValueError("a linker needs a rung to stand on")
        self._rungs = tuple(rungs)
        self._copy_below = max(copy_below, 1)
        self._missing: dict[tuple[LinkMode, int], str] = {}
        self._overlays: dict[int, bool] = {}
        self._lock = threading.Lock()

    def place(
        self,
        source: Path,
        target: Path,
        *,
        mode: int = 0o444,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> Placed:
        """Make the contents of `source` appear at `target`, whole from the first moment.

        Symbolic links at `source` are followed. The directory of `target` exists. `mode` is given
        to reflinks and copies; a hard link has the mode of its inode. `progress` is told of bytes
        really copied. Without `replace`, raises `FileExistsError` if `target` exists; with it, a
        reader of `target` sees the old file or the new. `FileNotFoundError`: the source is gone.
        A failure, or a crash but for a `.modelkeep-*` file, leaves nothing behind.
        """
        try:
            job = rungs.prepare(source, target, mode, replace, progress)
            return self._climb_down(job)
        except FileExistsError:
            raise
        except OSError as error:
            # Only the source may be missed: a caller would take a missing directory for a miss.
            if isinstance(error, FileNotFoundError) and not _exists(source):
                raise
            where = source if error.filename == os.path.realpath(source) else target
            raise oserrors.translate(error, where, doing="placing a file") from error

    def _climb_down(self, job: Job) -> Placed:
        if job.status.st_size < self._copy_below:
            return rungs.copy(job)
        why: str | None = None
        last: OSError | None = None
        for rung in self._rungs:
            known = self._missing.get((rung, job.status.st_dev))
            if known is not None:
                why = why or known
                continue
            try:
                placed = self._try(rung, job)
            except OSError as error:
                if not oserrors.is_capability(error):
                    raise
                last = error
                lacking = self._downgrade(rung, job, error)
                why = why or lacking
                continue
            return placed if placed.reason else dataclasses.replace(placed, reason=why)
        raise ModelkeepError(
            f"no allowed way to place a file: {why}",
            hint="allow copies, or put both on one file system",
            path=job.target,
            errno=last.errno if last else None,
        )

    def _try(self, rung: LinkMode, job: Job) -> Placed:
        if rung is LinkMode.HARDLINK:
            return rungs.hardlink(job, watched=self._is_overlay(job))
        return {
            LinkMode.REFLINK: rungs.reflink,
            LinkMode.SYMLINK: rungs.symlink,
            LinkMode.COPY: rungs.copy,
        }[rung](job)

    def _downgrade(self, rung: LinkMode, job: Job, error: OSError) -> str:
        why = f"{oserrors.name(error)}: no {rung} of `{job.source}` at `{job.target}`"
        if oserrors.is_lasting(error):
            with self._lock:
                self._missing[rung, job.status.st_dev] = why
        elif job.status.st_uid != os.geteuid():
            why += f", a file of uid {job.status.st_uid}"
        return why

    def _is_overlay(self, job: Job) -> bool:
        device = job.status.st_dev
        if device not in self._overlays:
            with self._lock:
                self._overlays[device] = mounts.fs_type(job.source) == "overlay"
        return self._overlays[device]


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
