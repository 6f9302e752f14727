"""The keep: one directory, one object, every verb. What the command line calls, programs can too.

    keep = modelkeep.open()
    keep.pull("org/name")

Nothing here prints; what happened is returned, what went wrong is raised as a `ModelkeepError`.
What a verb needs is imported when it is called: most wait for nothing else than imports.
"""

from __future__ import annotations

from modelkeep.keep.adopting import Adopting
from modelkeep.keep.checking import Checking
from modelkeep.keep.getting import Getting
from modelkeep.keep.holding import Holding
from modelkeep.keep.looking import Looking
from modelkeep.keep.removing import Removing
from modelkeep.keep.settling import Settling

__all__ = ["Keep"]


class Keep(Checking, Getting, Looking, Adopting, Removing, Settling, Holding):
    """A keep that exists. Use `open` or `Keep.create`, not the constructor.

    Methods may be called from several threads, processes and nodes at once.
    """
