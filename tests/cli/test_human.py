"""Numbers as people read them."""

from __future__ import annotations

import pytest

from modelkeep.cli import human
from modelkeep.cli.table import Table


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"),
        (99_949_999, "99.9 MB"), (99_960_000, "100 MB"), (999_600_000, "1.0 GB"),
        (15_000_000_000, "15.0 GB"), (412 * 10**9, "412 GB"), (3 * 10**18, "3000 PB"),
    ],
)  # fmt: skip
def test_sizes_are_decimal_as_on_the_hub(count: int, shown: str) -> None:
    assert human.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (9.96, "10 s"), (60, "1 min 0 s"), (7325, "2 h 2 min")],
)
def test_spans_of_time(seconds: float, shown: str) -> None:
    assert human.duration(seconds) == shown


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (None, "never"),
        ("2026-11-21T06:00:00Z", "just now"),
        ("2026-11-21T05:57:00Z", "3 minutes ago"),
        ("2026-11-20T05:00:00Z", "1 day ago"),
        ("2026-12-01T00:00:00Z", "just now"),  # a clock that is ahead
    ],
)
def test_how_long_ago(moment: str | None, shown: str) -> None:
    assert human.ago(moment, now=1_795_240_800) == shown


def test_counts_have_their_plural() -> None:
    assert human.counted(1, "file") == "1 file"
    assert human.counted(1200, "file") == "1,200 files"


def test_plain_tables_align_and_end_without_blanks() -> None:
    table = Table(("name", "size"), [("a", "1"), ("bbb", "22")], right=frozenset({"size"}))
    assert table.plain() == ["NAME  SIZE", "a        1", "bbb     22"]
    assert Table(("a", "b"), [("x", "")]).plain() == ["A  B", "x"]
