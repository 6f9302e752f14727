"""One verified copy of every Hugging Face model for a whole team.

    import modelkeep

    keep = modelkeep.open()
    pulled = keep.pull("org/name")
    print(pulled.snapshot)

Importing this loads next to nothing; what a name needs is loaded when the name is first used.
"""

from __future__ import annotations

import importlib

from modelkeep._version import __version__

TYPE_CHECKING = False  # `typing` takes longer to import than all of this

if TYPE_CHECKING:
    import os

    from modelkeep.errors import (
        AccessError,
        BusyError,
        CorruptError,
        FindingError,
        GatedError,
        InvalidRepoError,
        ModelkeepError,
        NoSpaceError,
        NotFoundError,
        OfflineError,
        ReadOnlyError,
        SettingsError,
        UnknownFormatError,
        UpstreamError,
        UsageError,
    )
    from modelkeep.hub.link import Linked
    from modelkeep.hub.listing import Listing
    from modelkeep.hub.progress import Progress
    from modelkeep.hub.pulled import Pulled
    from modelkeep.hub.removal.collect import CollectionPlan
    from modelkeep.hub.removal.remove import Removal, RemovalPlan
    from modelkeep.hub.settle import Settled
    from modelkeep.hub.where import Where
    from modelkeep.keep import Keep
    from modelkeep.keep.holding import LeaseListing, ListedLease
    from modelkeep.store.report import VerifyReport

_HOMES = {
    "CollectionPlan": "modelkeep.hub.removal.collect",
    "Keep": "modelkeep.keep",
    "LeaseListing": "modelkeep.keep.holding",
    "Linked": "modelkeep.hub.link",
    "ListedLease": "modelkeep.keep.holding",
    "Listing": "modelkeep.hub.listing",
    "Progress": "modelkeep.hub.progress",
    "Pulled": "modelkeep.hub.pulled",
    "Removal": "modelkeep.hub.removal.remove",
    "RemovalPlan": "modelkeep.hub.removal.remove",
    "Settled": "modelkeep.hub.settle",
    "VerifyReport": "modelkeep.store.report",
    "Where": "modelkeep.hub.where",
}

__all__ = [
    "AccessError",
    "BusyError",
    "CollectionPlan",
    "CorruptError",
    "FindingError",
    "GatedError",
    "InvalidRepoError",
    "Keep",
    "LeaseListing",
    "Linked",
    "ListedLease",
    "Listing",
    "ModelkeepError",
    "NoSpaceError",
    "NotFoundError",
    "OfflineError",
    "Progress",
    "Pulled",
    "ReadOnlyError",
    "Removal",
    "RemovalPlan",
    "SettingsError",
    "Settled",
    "UnknownFormatError",
    "UpstreamError",
    "UsageError",
    "VerifyReport",
    "Where",
    "__version__",
    "open",
]


def open(directory: str | os.PathLike[str] | None = None) -> Keep:  # noqa: A001 - reads as modelkeep.open()
    """Open a keep: the given directory, else MODELKEEP_HOME, else the default place.

    Where there is none a private one is made; `Keep.open` raises NotFoundError instead.
    """
    from modelkeep.keep import Keep

    return Keep.open_or_create(directory)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "modelkeep.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
