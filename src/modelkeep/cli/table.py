"""Tables: aligned text on a pipe, drawn by rich on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.table

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headings; the columns named in `right` are aligned to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[str] = frozenset()

    def plain(self) -> list[str]:
        """Return one line per row, the heading first, without colour and never cut."""
        lines = [[column.upper() for column in self.columns], *self.rows]
        widths = [max(len(line[index]) for line in lines) for index in range(len(self.columns))]
        return [
            _GAP.join(
                cell.rjust(width) if column in self.right else cell.ljust(width)
                for cell, width, column in zip(line, widths, self.columns, strict=True)
            ).rstrip()
            for line in lines
        ]

    def rich(self) -> rich.table.Table:
        """Return the same for a terminal, fitted to its width."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate(self.columns):
            table.add_column(
                column.upper(),
                justify="right" if column in self.right else "left",
                no_wrap=column in self.right,
                overflow="fold",
                style="cyan" if index == 0 else None,
            )
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table
