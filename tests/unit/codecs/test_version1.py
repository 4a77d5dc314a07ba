from __future__ import annotations

import math
import struct

import pytest

from stockstream.codecs.version1 import downgrade, epoch_ms, shortest_float32
from stockstream.errors import BadMessage, InvalidInput
from stockstream.models import Tick


def as_float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


@pytest.mark.parametrize("price", [189.37, 0.1, 1.5, 0.00141342, 232.35, 16777216.0, 1e-30, 3.4028235e38, 0.0, -2.13])
def test_a_price_gets_its_own_digits_back(price: float) -> None:
    assert shortest_float32(as_float32(price)) == price


def test_digits_that_a_float32_never_had_stay_lost() -> None:
    assert shortest_float32(as_float32(1_234_567.89)) == 1_234_567.9


def test_what_is_no_number_stays_so() -> None:
    assert shortest_float32(math.inf) == math.inf
    assert math.isnan(shortest_float32(math.nan))


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "1_000", " 1", "٣", "1" * 17])
def test_a_timestamp_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        epoch_ms(text)


def test_numbers_past_32_bits_are_written_as_absent() -> None:
    fields = downgrade(Tick("BTC-USD", 1_700_000_000_000, 1.0, last_size=6e10, day_volume=59_712_028_672))
    assert (fields["day_volume"], fields["last_size"], fields["timestamp"]) == (0, 0, "1700000000000")


@pytest.mark.parametrize("kind", ["quote", "start", "gap", "repair"])
def test_what_version_1_cannot_carry_is_refused(kind: str) -> None:
    with pytest.raises(InvalidInput, match="tick_schema=2"):
        downgrade(Tick("AAPL", 1, kind=kind))  # type: ignore[arg-type]
