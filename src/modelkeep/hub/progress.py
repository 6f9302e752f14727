"""What a long transfer tells whoever started it.

The library never prints. It calls a `Progress`, whose methods do nothing until somebody overrides
them, always from the thread that started the transfer and never two at once.
"""

from __future__ import annotations


class Progress:
    """Receives what happens; override what is of interest. Must return quickly and not raise."""

    def started(self, files: int, bytes_total: int) -> None:
        """So many files with so many bytes are going to be fetched."""

    def advanced(self, count: int) -> None:
        """`count` more bytes of content are here; those kept from an earlier run count too.

        Negative where bytes turned out to be worthless and are fetched again.
        """

    def waiting(self, reason: str, seconds: float) -> None:
        """Nothing moves for up to `seconds`, because of `reason`."""

    def file_done(self, name: str) -> None:
        """A file is complete, verified and handed over."""

    def note(self, text: str) -> None:
        """Something a person would want to know, in one line."""
