"""What takes over the files that other clients brought."""

from __future__ import annotations

from modelkeep.keep.opened import OpenKeep


class Adopting(OpenKeep):
    """The verb adopt."""
