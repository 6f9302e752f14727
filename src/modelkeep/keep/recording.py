"""Whether uses of a keep are recorded, so that what was used last is known."""

from __future__ import annotations

from modelkeep.keep.opened import OpenKeep


def unrecorded_use(keep: OpenKeep) -> str | None:
    """Return why it cannot be told what was used last, in words for a person; None if it can.

    Whoever sees a keep read-only cannot record what he uses. Only this machine is looked at.
    """
    from modelkeep.fs.views import read_only_view

    if keep.settings.record_use is False:
        return "keep.toml says that uses are not recorded: last used may be wrong"
    view = None if keep.settings.record_use else read_only_view(keep.directory)
    return f"{view}, so its uses are not recorded: last used may be wrong" if view else None
