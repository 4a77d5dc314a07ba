from __future__ import annotations

from dataclasses import replace

import pytest
from crashing import Host

from stockstream.core.engine import Engine
from stockstream.core.piece import clock_name
from stockstream.core.row import Row, candle_version, stamp
from stockstream.core.rows import Rows
from stockstream.core.verdict import Policy
from stockstream.models import Candle, Tick, Verdict

MINUTE, DAY = 60_000, 86_400_000
OPEN = 20_000 * DAY
BTC = "BINANCE:BTCUSDT"


def trade(at_ms: int, trade_id: int = -1, price: float = 10.0, symbol: str = BTC, **other: object) -> Tick:
    tick = Tick(symbol, OPEN + at_ms, price, 1.0, trade_id=trade_id, source="binance")
    return replace(tick, **other)  # type: ignore[arg-type]


def minute_of(host: Host, start: int = 0) -> Candle:
    return host.candles()[BTC, "1m", "regular", OPEN + start * MINUTE]


def test_trades_with_one_id_count_once_in_every_interval() -> None:
    host = Host()
    host.feed([(0, trade(0, 1)), (1, trade(0, 2)), (2, trade(0, 1))])
    host.feed([(3, trade(0, 2)), (4, trade(0, 3))])
    assert [host.verdicts[n] for n in range(5)] == ["accepted", "accepted", "duplicate", "duplicate", "accepted"]
    assert {candle.trades for candle in host.candles().values()} == {3}


def test_a_smaller_id_than_the_last_is_a_good_trade() -> None:
    host = Host()
    host.feed([(n, trade(0, trade_id)) for n, trade_id in enumerate([10, 7, 10**12, 8])])
    assert minute_of(host).trades == 4


def test_without_ids_two_equal_prints_are_two_trades() -> None:
    host = Host()
    host.feed([(0, trade(0)), (1, trade(0))])
    assert (minute_of(host).trades, minute_of(host).volume) == (2, 2.0)


def test_a_table_that_a_crash_left_behind_drops_the_same_duplicates() -> None:
    log = [(0, trade(0, 1)), (1, trade(0, 1)), (2, trade(1, 2))]
    host = Host()
    host.feed(log)
    only_minutes = {at: data for at, data in host.rows.stored.items() if at[0] == "1m"}
    again = Host(only_minutes)
    again.feed(log)
    assert again.candles() == host.candles()


def test_duplicates_that_will_not_be_read_again_are_forgotten() -> None:
    host = Host()
    for offset in range(5):
        host.feed([(offset, trade(0, 1))])
        host.commit()
    (data,) = [data for at, data in host.rows.stored.items() if at[0] == "1m"]
    assert Row.decode(data).duplicates == [4]


def test_a_duplicate_after_closing_amends_nothing() -> None:
    host = Host()
    snapshot = Tick("VCB.VN", OPEN, 10.0, day_volume=5, kind="snapshot")
    host.feed([(0, snapshot)])
    host.idle(DAY * 2)
    host.feed([(1, snapshot)])
    assert {candle.state for candle in host.steps[-1].sent} == {"closed"}
    host.feed([(2, replace(snapshot, event_time=OPEN + 1))])
    assert {candle.state for candle in host.steps[-1].sent} == {"amended"}


def test_ticks_of_a_second_topic_are_refused_whatever_they_are() -> None:
    engine = Engine(Rows(), Policy())
    engine.apply(1, [(5, trade(0, 1))], 0)
    foreign = [
        trade(0, 2), trade(9 * MINUTE, 3), trade(0, kind="quote"), trade(0, kind="start"),
        trade(0, kind="gap", until=OPEN),
    ]  # fmt: skip
    applied = engine.apply(2, [(n, tick) for n, tick in enumerate(foreign, 100)], 0)
    assert applied.batch.verdicts() == {Verdict.FOREIGN_TOPIC: 5}
    assert not applied.touched
    assert engine.apply(2, [(200, trade(0, 1, symbol="OTHER"))], 0).batch.verdicts() == {Verdict.ACCEPTED: 1}


def test_a_second_topic_is_refused_although_a_crash_took_the_minutes() -> None:
    host = Host()
    host.feed([(0, trade(0, 1))])
    torn = {at: data for at, data in host.rows.stored.items() if at[0] == "1d"}
    other = Host(torn, topic_id=8)
    other.feed([(90, trade(0, 2))])
    assert other.verdicts[90] is Verdict.FOREIGN_TOPIC


def test_quotes_touch_no_row() -> None:
    host = Host()
    host.feed([(0, trade(0, kind="quote"))])
    assert (host.rows.stored, host.verdicts[0]) == ({}, Verdict.ACCEPTED)


def test_a_skipped_tick_tells_its_candles_again_and_the_next() -> None:
    ticks = [Tick("VCB.VN", OPEN + n * MINUTE, 10.0, day_volume=5 + n, kind="snapshot") for n in range(2)]
    log = list(enumerate(ticks))
    host = Host()
    host.feed(log)
    again = Host(host.rows.stored)
    again.feed(log[:1])
    again.feed(log[1:])
    assert again.sink == host.sink
    assert again.candles() == host.candles()


def test_a_candle_is_not_told_before_the_log_has_come_to_its_version() -> None:
    log = [(n, Tick("VCB.VN", OPEN + n * MINUTE, 10.0, day_volume=5 + n, kind="snapshot")) for n in range(3)]
    host = Host()
    host.feed(log)
    lost = ("1m", ("VCB.VN", "regular"), OPEN + MINUTE)
    again = Host({at: data for at, data in host.rows.stored.items() if at != lost})
    again.feed(log[:1])
    assert {candle.window_start for candle in again.sink.values() if candle.interval == "1m"} == {OPEN}
    again.feed(log[1:])
    assert again.sink == host.sink


def test_windows_close_by_later_ticks_of_their_market_alone() -> None:
    host = Host(close_delay_ms=1_000)
    host.feed([(0, trade(0, 1))])
    host.feed([(1, trade(9 * MINUTE, 1, symbol="OTHER", exchange="elsewhere"))])
    assert not minute_of(host).is_closed
    host.feed([(2, trade(MINUTE + 999, 2, symbol="BINANCE:ETHUSDT"))])
    assert not minute_of(host).is_closed
    host.feed([(3, trade(MINUTE + 1_000, 3, symbol="BINANCE:ETHUSDT"))])
    assert minute_of(host).is_closed
    assert minute_of(host).version == candle_version(stamp(0, 0), True)


def test_a_time_ahead_of_its_reception_closes_nothing() -> None:
    host = Host()
    host.feed([(0, trade(0, 1))])
    host.feed([(1, trade(MINUTE, 2, producer_timestamp=OPEN + MINUTE - 1))])
    assert not minute_of(host).is_closed


def test_the_clock_of_a_row_is_that_of_its_first_tick() -> None:
    host = Host()
    host.feed([(0, trade(0, 1, exchange="A")), (1, trade(1, 2, exchange="B"))])
    host.feed([(2, trade(2, 3, exchange="C"))])
    assert {Row.decode(data).clock for data in host.rows.stored.values()} == {"binance/A"}


def test_an_exchange_of_any_length_fits_into_a_row() -> None:
    host = Host()
    host.feed([(0, trade(0, 1, exchange="\U0001f4c8" * 500))])
    assert minute_of(host).trades == 1
    assert clock_name("yahoo", "x" * 500) == clock_name("yahoo", "x" * 501)


def test_after_a_crash_nothing_closes_before_the_log_is_where_it_was() -> None:
    log = [(0, trade(0, 1)), (1, trade(1, 2)), (2, trade(10 * MINUTE, 3))]
    host = Host()
    host.feed(log[:1])
    older = dict(host.rows.stored)
    host.feed(log[1:])
    newest = {at: data for at, data in host.rows.stored.items() if at[2] == OPEN + 10 * MINUTE}
    again = Host({**older, **newest})
    again.feed(log[:1])
    assert not minute_of(again).is_closed
    again.feed(log[1:])
    assert (minute_of(again).state, minute_of(again).trades) == ("closed", 2)


def test_a_quiet_symbol_closes_after_a_restart_as_soon_as_nothing_is_left_to_read() -> None:
    host = Host()
    host.feed([(0, trade(0, 1))])
    again = Host(host.rows.stored)
    again.idle(MINUTE - 1)
    assert not minute_of(again).is_closed
    again.idle(MINUTE)
    assert minute_of(again).is_closed


def test_closings_are_told_again_after_a_crash() -> None:
    host = Host()
    host.feed([(0, trade(0, 1))])
    host.commit()
    host.idle(MINUTE)
    again = Host(host.rows.stored, committed=host.committed)
    again.idle(0)
    assert {(candle.interval, candle.is_closed) for candle in again.sink.values()} == {("1m", True)}
    assert again.engine.close(0, idle=True) == []


def test_an_empty_batch_does_nothing() -> None:
    engine = Engine(Rows(), Policy())
    applied = engine.apply(1, [], 0)
    assert (applied.batch.verdicts(), applied.touched, engine.publish(applied.touched)) == ({}, {}, [])


def test_a_trade_ahead_of_open_rows_is_merged_without_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(Rows(), Policy())
    first = Tick("A", 1_700_000_000_000, 10.0, 1.0, trade_id=1)
    engine.apply(1, [(1, first)], 0)
    monkeypatch.setattr(Engine, "_apply_minute", None)
    applied = engine.apply(1, [(2, replace(first, trade_id=2, price=11.0))], 0)
    assert applied.batch.verdicts() == {Verdict.ACCEPTED: 1}
    assert [(candle.interval, candle.close, candle.trades) for candle in engine.publish(applied.touched)] == [
        (interval, 11.0, 2) for interval in ("1m", "5m", "1d")
    ]


def test_a_symbol_that_can_be_none_leaves_nothing_behind() -> None:
    engine = Engine(Rows(), Policy())
    applied = engine.apply(1, [(1, Tick("no symbol", 1_700_000_000_000, 10.0, 1.0))], 0)
    assert applied.batch.verdicts() == {Verdict.BAD_SYMBOL: 1}
    assert not engine.rows._series


@pytest.mark.parametrize("batch", [[0, 1, 2, 3], [3, 2, 1, 0]])
def test_minutes_roll_up_into_five_minutes_and_days(batch: list[int]) -> None:
    host = Host()
    ticks = [trade(n * 2 * MINUTE, n, price=10.0 + n) for n in range(4)]
    host.feed([(offset, ticks[n]) for offset, n in enumerate(batch)])
    found = {
        (interval, (start - OPEN) // MINUTE): (candle.open, candle.close, candle.trades)
        for (_, interval, _, start), candle in host.candles().items()
        if interval != "1m"
    }
    assert found == {("5m", 0): (10.0, 12.0, 3), ("5m", 5): (13.0, 13.0, 1), ("1d", 0): (10.0, 13.0, 4)}
