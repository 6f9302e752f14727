"""Fetching files over networks that stall, break, redirect and lie.

Files come in parallel ranges over as many connections as help, what has arrived survives any end
of the process, and nothing is handed over that does not have the digest that was asked for.
`docs/design/0003-ranged-downloads.md` says why it is built this way.

Steps of the protocol, for crash tests: `fetch:started` a partial exists, `fetch:taken` one of an
earlier run is ours, `fetch:noted` bytes written are recorded, `fetch:synced` bytes are on the disk,
`fetch:recorded` that is recorded, `fetch:verified` the digest is right, `fetch:delivered` the file
has been handed over, `fetch:done` nothing is left of the partial, `fetch:discarded` a damaged
arrival is gone.
"""

from modelkeep.hub.fetch.fetcher import Fetcher
from modelkeep.hub.fetch.partials import kept_bytes
from modelkeep.hub.fetch.wanted import FetchReport, Patience, Wanted

__all__ = ["FetchReport", "Fetcher", "Patience", "Wanted", "kept_bytes"]
