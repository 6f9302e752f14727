"""Sizes and ages as people write them."""

from __future__ import annotations

import pytest

from modelkeep.sizes import as_option, parse_size
from modelkeep.times import parse_age, parse_span


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("500 GB", 500 * 10**9),
        ("500G", 500 * 10**9),
        ("1.5T", 1_500 * 10**9),
        ("2k", 2000),
        ("2 KiB", 2048),
        ("20GiB", 20 << 30),
    ],
)
def test_sizes_are_decimal_unless_they_say_otherwise(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("size", [0, 999_999, 10**6, 1_260_000_001, 5 * 10**12 - 1])
def test_as_an_option_a_size_is_never_rounded_up(size: int) -> None:
    assert size - 10**6 < parse_size(as_option(size)) <= size


@pytest.mark.parametrize("text", ["", "GB", "-1G", "1X", "1iB", "1 G B", "1e9", "12 GBs", "١G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size such as"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90min", 5400), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600)]
)
def test_ages_have_a_unit(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


def test_a_month_is_not_taken_for_a_minute() -> None:
    with pytest.raises(ValueError, match="could be minutes or months: write 60min or 30d"):
        parse_age("1m")
    assert parse_span("1m") == 60  # how long something may take is no age


@pytest.mark.parametrize("text", ["", "30", "30 days", "-1d", "d", "٣d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no age such as"):
        parse_age(text)
