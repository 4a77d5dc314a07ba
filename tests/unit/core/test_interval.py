from __future__ import annotations

import pytest

from stockstream.core.interval import (
    DAY_MS,
    INTERVALS_MS,
    check_interval,
    window_end,
    window_start,
)
from stockstream.errors import InvalidInterval

MIDNIGHT = 20_000 * DAY_MS


@pytest.mark.parametrize("interval", INTERVALS_MS)
def test_a_window_holds_its_start_and_not_its_end(interval: str) -> None:
    end = window_end(interval, MIDNIGHT)
    assert window_start(interval, MIDNIGHT) == MIDNIGHT
    assert window_start(interval, end - 1) == MIDNIGHT
    assert window_start(interval, end) == end


def test_an_unknown_interval_is_refused_with_the_known_ones() -> None:
    assert check_interval("5m") == "5m"
    with pytest.raises(InvalidInterval, match="1m, 5m, 1d"):
        check_interval("1h")
