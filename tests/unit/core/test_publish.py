from __future__ import annotations

from stockstream.core.engine import Engine
from stockstream.core.publish import candle_of, volume_text
from stockstream.core.row import Row, candle_version, stamp
from stockstream.core.rows import Rows
from stockstream.core.verdict import Policy
from stockstream.models import Candle, Tick

DAY = 86_400_000
OPEN = 20_000 * DAY
AT = ("5m", ("BINANCE:BTCUSDT", "regular"), OPEN)


def rows_of(*ticks: Tick) -> Rows:
    rows = Rows()
    Engine(rows, Policy()).apply(1, [(stamp(2, offset), tick) for offset, tick in enumerate(ticks)], 0)
    return rows


def trade(price: float, size: float, trade_id: int) -> Tick:
    return Tick("BINANCE:BTCUSDT", OPEN + trade_id, price, size, trade_id=trade_id)


def test_a_candle_of_trades_tells_everything() -> None:
    rows = rows_of(trade(10.0, 1.0, 1), trade(12.0, 3.0, 2), trade(9.0, 0.00000001, 3))
    row = rows.get(AT)
    assert row is not None
    candle = candle_of(rows, AT, row)
    assert candle == Candle(
        "BINANCE:BTCUSDT", "5m", "regular", OPEN, OPEN + 300_000, 10.0, 12.0, 9.0, 9.0, 4.00000001,
        candle.vwap if candle else None, 3, False, candle_version(stamp(2, 2), False), OPEN, OPEN + 300_000,
    )  # fmt: skip
    assert volume_text(rows, AT, row) == "4.00000001"


def test_a_row_of_control_records_is_no_candle() -> None:
    rows = rows_of(Tick("BINANCE:BTCUSDT", OPEN, kind="start"))
    row = rows.get(AT)
    assert row is not None
    assert candle_of(rows, AT, row) is None
    assert volume_text(rows, AT, row) is None


def test_a_candle_forms_closes_and_is_amended() -> None:
    rows = rows_of(trade(10.0, 1.0, 1))
    row = rows.get(AT)
    assert row is not None
    states = []
    for closed, amended in ((False, False), (True, False), (True, True)):
        row.closed, row.amended = closed, amended
        candle = candle_of(rows, AT, row)
        assert candle is not None
        states.append((candle.state, candle.is_closed))
    assert states == [("forming", False), ("closed", True), ("amended", True)]


def test_a_day_is_bounded_by_its_session() -> None:
    rows = rows_of(trade(10.0, 1.0, 1))
    at = ("1d", AT[1], OPEN)
    row = rows.get(at)
    assert row is not None
    candle = candle_of(rows, at, row)
    assert candle is not None
    assert (candle.session_open, candle.session_close) == (OPEN, OPEN + DAY)


def test_an_empty_row_is_no_candle() -> None:
    assert candle_of(Rows(), AT, Row(1)) is None
