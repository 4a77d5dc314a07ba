"""Which ticks of a batch of columns are taken without a look at each, and that this changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from columns import columns_of
from crashing import Host
from rounding import plain_rows, without_rounding

from stockstream.core.engine import Engine
from stockstream.core.interval import INTERVALS_MS
from stockstream.core.partial import E8
from stockstream.core.rows import Rows
from stockstream.core.verdict import Policy
from stockstream.models import Candle, Tick

BEGIN_MS = 1_700_000_100_000  # a window of five minutes begins
STEP_MS = 500
Log = list[tuple[int, Tick]]


def trades(minutes: int, first: int = 0, symbols: Sequence[str] = ("A", "B")) -> Log:
    """Trades in order, every other one of the next symbol, from ``first`` minutes on; offsets count them."""
    a_minute = 60_000 // STEP_MS
    return [
        (
            number,
            Tick(
                symbols[number % len(symbols)],
                BEGIN_MS + number * STEP_MS,
                100 + (number * 7) % 13 / 10,
                1 + number % 3 / 4,
                trade_id=number,
                exchange="X",
                source="unit",
            ),
        )
        for number in range(first * a_minute, (first + minutes) * a_minute)
    ]


class Both:
    """The same log by columns and one by one."""

    def __init__(self) -> None:
        self.engines = [Engine(Rows(), Policy(accepted_lateness_ms=None), close_delay_ms=5000) for _ in range(2)]
        self.candles: list[dict[tuple[str, str, str, int], Candle]] = [{}, {}]

    def take(self, log: Log) -> list[Candle]:
        """Returns the candles of windows that were opened and ended at once."""
        whole: list[Candle] = []
        for engine, published, columnar in zip(self.engines, self.candles, (True, False), strict=True):
            columns = columns_of(log) if columnar else None
            applied = engine.apply(1, [] if columnar else log, 0, columns)
            touched = dict.fromkeys([*applied.touched, *engine.close(0, idle=False)])
            published.update({candle.key: candle for candle in [*applied.whole, *engine.publish(touched)]})
            whole += applied.whole
        assert plain_rows(self.engines[0].rows) == plain_rows(self.engines[1].rows)
        assert self.turnovers(0) == pytest.approx(self.turnovers(1), rel=1e-15)
        by_columns, one_by_one = (
            {key: without_rounding(each) for key, each in found.items()} for found in self.candles
        )
        assert by_columns == one_by_one
        return whole

    def turnovers(self, which: int) -> list[float]:
        rows = self.engines[which].rows
        found = [rows.get(at) for interval in INTERVALS_MS for at in rows.addresses(interval)]
        return [row.bar.turnover + row.bar.turnover_low for row in found if row is not None and row.bar is not None]


def starts(whole: list[Candle], symbol: str, interval: str) -> list[int]:
    return [
        (candle.window_start - BEGIN_MS) // 60_000
        for candle in whole
        if (candle.symbol, candle.interval) == (symbol, interval)
    ]


def test_windows_that_a_batch_opens_and_ends_are_written_at_once() -> None:
    both = Both()
    whole = both.take(trades(12))
    for symbol in ("A", "B"):
        assert starts(whole, symbol, "1m") == list(range(11))  # the last minute is not over by five seconds
        assert starts(whole, symbol, "5m") == [0, 5]
        assert starts(whole, symbol, "1d") == []
    whole = both.take(trades(7, first=12))
    for symbol in ("A", "B"):
        assert starts(whole, symbol, "1m") == list(range(12, 18))
        assert starts(whole, symbol, "5m") == []  # the one from 10 on was open, that from 15 on is


def test_only_new_windows_are() -> None:
    both = Both()
    log = trades(12)
    both.take(log[:130])
    assert starts(both.take(log[130:]), "A", "1m") == list(range(2, 11))


def duplicated(log: Log) -> Log:
    return [*log, (len(log), replace(log[40][1]))]


def of_two_venues(log: Log) -> Log:
    return [(at, replace(tick, exchange="Y" if at > 900 else "X")) for at, tick in log]


def with_a_snapshot(log: Log) -> Log:
    return [(at, replace(tick, kind="snapshot", day_volume=7) if at in (300, 301) else tick) for at, tick in log]


@pytest.mark.parametrize("spoil", [duplicated, of_two_venues, with_a_snapshot])
def test_what_has_to_be_looked_at_goes_the_long_way(spoil: Callable[[Log], Log]) -> None:
    log = spoil(trades(12))
    assert len(Both().take(log)) < len(Both().take(trades(12)))


def test_ids_that_rows_have_seen_are_told() -> None:
    both = Both()
    log = trades(3)
    both.take(log[:300])
    again = [(at, replace(tick, trade_id=tick.trade_id - 20)) for at, tick in trades(12)[300:]]
    assert both.take(again) == []


def test_a_late_tick_has_its_run_looked_at() -> None:
    both = Both()
    both.take(trades(6))
    late = trades(12)[720:]
    late.append((late[-1][0] + 1, replace(late[0][1], event_time=BEGIN_MS + 500, trade_id=99_999)))
    whole = both.take(late)
    assert starts(whole, "B", "1m") != []
    assert starts(whole, "A", "1m") == []


def test_new_rows_are_told_of_holes() -> None:
    both = Both()
    gap = Tick("A", BEGIN_MS + 10_000, kind="gap", until=BEGIN_MS + 20_000, exchange="X", source="unit")
    for engine in both.engines:
        engine.apply(1, [(0, gap)], 0)
    whole = both.take([(at + 1, tick) for at, tick in trades(12)])
    assert starts(whole, "A", "1m") == []
    assert starts(whole, "B", "1m") == list(range(11))


def test_new_rows_know_when_their_symbol_was_subscribed() -> None:
    both = Both()
    start = Tick("A", BEGIN_MS + 10_000, kind="start", exchange="X", source="unit")
    for engine in both.engines:
        engine.apply(1, [(0, start)], 0)
    whole = both.take([(at + 1, tick) for at, tick in trades(12)])
    assert starts(whole, "A", "1m") == list(range(1, 11))
    row = both.engines[0].rows.get(("1m", ("A", "regular"), BEGIN_MS + 5 * 60_000))
    assert row is not None
    assert row.start_ms == BEGIN_MS + 10_000


def test_nothing_is_closed_at_once_while_the_log_is_read_again() -> None:
    """A crash has left one symbol's rows ahead; the other's begin anew, and their clock is that of the first."""
    host = Host(columnar=True)
    host.feed(trades(12))
    torn = {at: data for at, data in host.rows.stored.items() if at[1][0] == "A"}
    again = Host(torn, columnar=True)
    applied = again.engine.apply(again.topic_id, [], 0, columns_of(trades(3)[:300]))
    assert applied.whole == []
    assert again.engine.close(0, idle=False) == []


@pytest.mark.parametrize("size", [0.0, 3e5 + 1 / 3, 1_501_199.91, 1e9 + 0.1, 9e11])
def test_volumes_of_any_size_are_exact(size: float) -> None:
    both = Both()
    whole = both.take([(at, replace(tick, last_size=size)) for at, tick in trades(12)])
    assert starts(whole, "A", "1m") == list(range(11))
    units = round(size * E8) if size < 1e9 else int(size) * E8 + round((size - int(size)) * E8)
    assert {candle.volume for candle in whole if candle.interval == "1m"} == {units * 60 / E8}
