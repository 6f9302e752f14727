"""Numbers as people read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkeep.cli import human, placed
from modelkeep.cli.progress import Lines
from modelkeep.cli.table import Table
from modelkeep.hub.pulled import Pulled


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


def test_a_url_is_said_by_its_host() -> None:
    assert human.without_urls("`https://u:p@a.example:8/x?sig=1` said 503, https://b.example") == (
        "`a.example:8` said 503, b.example"
    )


def test_a_narrow_terminal_gets_fewer_columns_and_whole_names() -> None:
    table = Table(("repo", "size", "used"), [("org/name", "1.0 GB", "never")], spare=("used",))
    assert table.fitted(30) is table
    assert table.fitted(20).plain() == ["REPO      SIZE", "org/name  1.0 GB"]
    assert table.fitted(5).plain() == table.fitted(20).plain()


def test_a_wait_is_said_once_until_something_moves() -> None:
    said: list[str] = []
    lines = Lines("pull x", said.append)
    for seconds in (9.0, 8.0, 7.0):
        lines.waiting("https://a.example/x?y answered 503", seconds)
    assert said == ["pull x: waiting up to 9.0 s: a.example answered 503"]
    lines.advanced(1)
    lines.waiting("https://a.example/x?y answered 503", 4.0)
    assert len(said) == 2


def test_a_rate_is_that_of_this_run() -> None:
    pulled = Pulled(
        "o/n", "model", "0" * 40, Path("x"), 1, 90, 9_000_000, 0, 0, {}, 2.0, 5_000_000, 1
    )
    assert placed.fetched(pulled) == (
        "fetched 9.0 MB in 2.0 s (2.0 MB/s), 5.0 MB of it kept from an earlier run"
    )
