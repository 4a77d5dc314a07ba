from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.errors import InvalidInput
from stockstream.sources.replay.rows import likely_unit
from stockstream.web.times import parse_time, rfc3339, stamp

GREATEST_MS = 253_402_300_799_999


@given(st.integers(0, GREATEST_MS))
def test_both_spellings_are_read_back_exactly(epoch_ms: int) -> None:
    assert parse_time("start", rfc3339(epoch_ms)) == epoch_ms
    if likely_unit(epoch_ms) != "s":
        assert parse_time("start", str(epoch_ms)) == epoch_ms


@pytest.mark.parametrize("text", ["1700000400", "0315532800", "4102444799"])
def test_seconds_are_not_taken_for_milliseconds(text: str) -> None:
    with pytest.raises(InvalidInput, match=f"start='{text}' .* looks like seconds: give milliseconds"):
        parse_time("start", text)


def test_a_time_stands_in_both_spellings() -> None:
    assert stamp("window_start", 1_700_000_400_007) == {
        "window_start": "2023-11-14T22:20:00.007Z",
        "window_start_ms": 1_700_000_400_007,
    }


@pytest.mark.parametrize(
    ("text", "epoch_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2023-11-14T22:20:00z", 1_700_000_400_000),
        ("2023-11-14t22:20:00.5Z", 1_700_000_400_500),
        ("2023-11-15T05:20:00+07:00", 1_700_000_400_000),
        ("2023-11-14T17:20:00-05:00", 1_700_000_400_000),
        ("2023-11-14T22:20:00.0079999Z", 1_700_000_400_007),
        ("1700000400000", 1_700_000_400_000),
        ("0", 0),
    ],
)
def test_times_are_read(text: str, epoch_ms: int) -> None:
    assert parse_time("start", text) == epoch_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2023-11-14",
        "2023-11-14T22:20:00",
        "2023-11-14T22:20:00 07:00",
        "2023-13-14T22:20:00Z",
        "2023-11-14T25:20:00Z",
        "20231114T222000Z",
        "-5",
        "1.5",
        "1e12",
        "\u0661\u0662",
        "9999999999999999999",
        "999999999999999",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="end="):
        parse_time("end", text)


@given(st.text(max_size=40))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    with suppress(InvalidInput):
        assert 0 <= parse_time("start", text) <= GREATEST_MS
