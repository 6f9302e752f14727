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
    """Rows of text under headings; the columns named in `right` are aligned to the right.

    Those in `spare` are left out, the first ones first, where a terminal is too narrow.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[str] = frozenset()
    spare: Sequence[str] = ()

    def fitted(self, width: int) -> Table:
        """Return the table without as many of its spare columns as a width demands."""
        if not self.spare or max(map(len, self.plain())) <= width:
            return self
        dropped = self.columns.index(self.spare[0])
        keep = [index for index in range(len(self.columns)) if index != dropped]
        rest = Table(
            [self.columns[index] for index in keep],
            [[row[index] for index in keep] for row in self.rows],
            self.right - {self.spare[0]},
            self.spare[1:],
        )
        return rest.fitted(width)

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
        """Return the same for a terminal that is wide enough."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate(self.columns):
            table.add_column(
                column.upper(),
                justify="right" if column in self.right else "left",
                no_wrap=True,
                style="cyan" if index == 0 else None,
            )
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table
