"""A calendar as the candle engine asks it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stockstream.calendars import calendars_in, hours_of
from stockstream.calendars.hours import ExchangeHours
from stockstream.core.engine import Engine
from stockstream.core.rows import Rows
from stockstream.core.trading import Trading
from stockstream.core.verdict import Policy
from stockstream.models import Tick, Verdict
from stockstream.models.tick import KINDS

CODES = ["XNYS", "XHKG", "XASX", "CMES", "HOSE", "24/5"]


def hours(code: str) -> ExchangeHours:
    found = hours_of(calendars_in(None).get(code))
    assert found is not None
    return found


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["9999-12-31T23:59:59", "9998-12-01T12:00:00", "1970-01-01T00:00:01"])
def test_no_time_that_a_record_may_have_is_too_far_away(code: str, kind: str, when: str) -> None:
    asked = hours(code)
    engine = Engine(Rows(Trading(lambda source, exchange: asked, lambda symbol: asked)), Policy())
    tick = Tick("A", at(when), 1.0, day_volume=5, kind=kind, until=at(when) + 5)  # type: ignore[arg-type]
    applied = engine.apply(0, [(0, tick)], 0)
    assert applied.batch.verdict(0) is Verdict.ACCEPTED
    candles = engine.publish(applied.touched)
    assert {candle.symbol for candle in candles} <= {"A"}
