"""Ticks that come late, twice, in disorder, or cannot be ticks at all; and when quiet symbols' candles close."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from oracle import assert_candles, expected_candles
from places import by_sql

from stockstream.models import Candle, Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.topics import Record
from stockstream.testing.wait import wait_until

MINUTE_MS = 60_000
T0_MS = 1_700_000_100_000  # the start of five minutes
LATENESS_MS = 900_000
CLOSE_DELAY_S = 1
PATIENCE_S = 30


@pytest.fixture(scope="module")
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse_server: ClickHouseFacade) -> Iterator[System]:
    """One worker for all tests here, which use symbols and exchanges of their own."""
    with System(
        kafka.bootstrap, registry.url, clickhouse_server.url, partitions="2", close_delay_s=str(CLOSE_DELAY_S)
    ) as made:
        made.start()
        yield made


def trade(symbol: str, number: int, event_ms: int, price: float = 1.0, received_ms: int = 0) -> Tick:
    """Trade ``number`` of a symbol, which has an exchange, and so a clock, of its own."""
    received_ms = received_ms or event_ms
    return Tick(symbol, event_ms, price, 2.0, trade_id=number, producer_timestamp=received_ms, exchange=symbol)


def candle(system: System, symbol: str, interval: str, start_ms: int) -> Candle:
    return system.candles_topic()[symbol, interval, "regular", start_ms]


def letters(system: System, symbol: str | None) -> list[Record]:
    key = None if symbol is None else symbol.encode()
    return [record for record in system.topics.read(system.topic("dead-letters")) if record.key == key]


def headers(record: Record) -> dict[str, str]:
    return {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in record.headers.items()}


def verdicts(system: System, symbol: str) -> list[tuple[int, str]]:
    """(trade id, verdict) in the archive, in the order of the log."""
    rows = system.sql(f"SELECT trade_id, verdict FROM ticks FINAL WHERE symbol = '{symbol}' ORDER BY offset")
    return [(number, verdict) for number, verdict in rows]


def assert_as_read(system: System, symbol: str) -> None:
    """The candles of a symbol are those of its ticks in the log."""
    expected = {
        key: value
        for log in system.tick_log().values()
        for key, value in expected_candles((offset, tick) for offset, tick in log if tick.symbol == symbol).items()
    }
    for where, found in (("the candles topic", system.candles_topic()), ("ClickHouse", by_sql(system))):
        assert_candles(expected, {key: made for key, made in found.items() if key[0] == symbol}, where)


def test_a_late_tick_changes_no_candle_and_is_kept_with_the_reason(system: System) -> None:
    symbol, late_ms = "LATE", LATENESS_MS + 1
    in_time = trade(symbol, 2, T0_MS + 1, price=0.5, received_ms=T0_MS + 1 + LATENESS_MS)
    late = trade(symbol, 3, T0_MS + 2, price=9.0, received_ms=T0_MS + 2 + late_ms)
    system.produce([trade(symbol, 1, T0_MS), in_time, late])
    system.wait_drained(PATIENCE_S)
    assert_as_read(system, symbol)
    made = candle(system, symbol, "1m", T0_MS)
    assert (made.trades, made.high, made.low) == (2, 1.0, 0.5)
    (letter,) = letters(system, symbol)
    told = headers(letter)
    (partition,) = {number for number, log in system.tick_log().items() for _, tick in log if tick.symbol == symbol}
    log = system.tick_log()[partition]
    (offset,) = (offset for offset, tick in log if tick.symbol == symbol and tick.trade_id == 3)
    assert told.pop("error") == f"it happened at {late.event_time} and was received at {late.producer_timestamp}"
    assert told == {
        "topic": system.topic("yfinance"), "partition": str(partition), "offset": str(offset), "reason": "late",
    }  # fmt: skip
    assert letter.value == system.encoder()(late)
    assert verdicts(system, symbol) == [(1, "accepted"), (2, "accepted"), (3, "late")]
    # A late trade is no price of now either.
    assert system.latest_topic()[symbol].price == 0.5


def test_duplicates_count_once_whenever_they_come(system: System) -> None:
    symbol = "TWICE"
    first = [trade(symbol, number, T0_MS + number, price=float(number)) for number in (1, 2, 5, 9)]
    system.produce([*first, first[0], first[3]])
    system.wait_drained(PATIENCE_S)
    closing = trade(symbol, 10, T0_MS + 10 * MINUTE_MS)
    system.produce([first[1], closing, first[2]])
    system.wait_drained(PATIENCE_S)
    assert_as_read(system, symbol)
    made = candle(system, symbol, "1m", T0_MS)
    assert (made.trades, made.volume, made.is_closed, made.state) == (4, 8.0, True, "closed")
    assert candle(system, symbol, "1d", T0_MS - T0_MS % 86_400_000).trades == 5
    assert letters(system, symbol) == []


def test_a_tick_within_the_lateness_amends_closed_candles(system: System) -> None:
    symbol = "AMEND"
    system.produce([trade(symbol, 3, T0_MS + 3000, 3.0), trade(symbol, 9, T0_MS + 6 * MINUTE_MS, 9.0)])
    wait_until(lambda: candle_states(system, symbol) == {"1m": "closed", "5m": "closed"}, PATIENCE_S, "both to close")
    before = {interval: candle(system, symbol, interval, T0_MS) for interval in ("1m", "5m")}
    now_ms = T0_MS + 6 * MINUTE_MS
    system.produce([trade(symbol, 1, T0_MS + 1000, 1.0, now_ms), trade(symbol, 5, T0_MS + 5000, 5.0, now_ms)])
    system.wait_drained(PATIENCE_S)
    assert_as_read(system, symbol)
    for interval, old in before.items():
        made = candle(system, symbol, interval, T0_MS)
        assert (made.open, made.high, made.low, made.close, made.trades) == (1.0, 5.0, 1.0, 5.0, 3)
        assert (made.is_closed, made.state) == (True, "amended")
        assert made.version > old.version
    assert candle(system, symbol, "1m", T0_MS + 6 * MINUTE_MS).open == 9.0
    assert letters(system, symbol) == []


def candle_states(system: System, symbol: str) -> dict[str, str]:
    """Of the candles that begin at T0, without the day's."""
    found = system.candles_topic()
    return {key[1]: made.state for key, made in found.items() if key[0] == symbol and key[3] == T0_MS}


def test_candles_of_a_quiet_symbol_close_by_the_clock_on_the_wall(system: System) -> None:
    symbol = "QUIET"
    window_ms = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS - MINUTE_MS
    system.produce([trade(symbol, 1, window_ms + MINUTE_MS - 1500)])
    key = (symbol, "1m", "regular", window_ms)
    wait_until(lambda: key in system.candles_topic(), PATIENCE_S, "the candle")
    wait_until(lambda: system.candles_topic()[key].is_closed, PATIENCE_S, "the candle to close")
    wait_until(lambda: system.sql_candles("1m").get(key, [False] * 8)[6], PATIENCE_S, "ClickHouse to have it")
    assert_as_read(system, symbol)
    # Its clock goes on from the tick at the pace of the wall: the day is far from its end.
    assert not candle(system, symbol, "1d", window_ms - window_ms % 86_400_000).is_closed


def test_a_replay_closes_by_its_own_time_alone(system: System) -> None:
    symbol = "REPLAY"
    old_ms = T0_MS - 86_400_000
    times_ms = [number * MINUTE_MS for number in range(5)] + [5 * MINUTE_MS + 2000]
    system.produce([trade(symbol, number, old_ms + time_ms) for number, time_ms in enumerate(times_ms)])
    system.wait_drained(PATIENCE_S)
    assert closed_minutes(system, symbol, old_ms) == [0, 1, 2, 3, 4]
    assert candle(system, symbol, "5m", old_ms).is_closed
    assert not candle(system, symbol, "5m", old_ms + 5 * MINUTE_MS).is_closed
    assert not candle(system, symbol, "1d", old_ms - old_ms % 86_400_000).is_closed
    system.produce([trade(symbol, 6, old_ms + 7 * MINUTE_MS)])
    system.wait_drained(PATIENCE_S)
    assert closed_minutes(system, symbol, old_ms) == [0, 1, 2, 3, 4, 5]
    assert_as_read(system, symbol)


def closed_minutes(system: System, symbol: str, since_ms: int) -> list[int]:
    found = system.candles_topic()
    return sorted(
        (key[3] - since_ms) // MINUTE_MS for key, made in found.items() if key[:2] == (symbol, "1m") and made.is_closed
    )


def test_what_is_no_tick_is_kept_with_the_reason_and_the_worker_goes_on(system: System) -> None:
    symbol = "BAD"
    encode = system.encoder()
    good = [trade(symbol, number, T0_MS + number) for number in range(3)]
    framed = encode(good[0])
    bad = {
        b"\x00\x00": "corrupt",
        b"\x01" + framed[1:]: "corrupt",
        framed[:-3]: "corrupt",
        b"\x00\xff\xff\xff\xff" + framed[5:]: "corrupt",
        b"{not json": "corrupt",
        encode(replace(good[0], symbol="OTHER")): "key mismatch",
        encode(replace(good[0], price=math.nan)): "bad price",
        encode(replace(good[0], price=-1.0)): "bad price",
        encode(replace(good[0], last_size=-1.0)): "bad size",
        encode(replace(good[0], event_time=0)): "bad time",
        encode(trade(symbol, 9, T0_MS + MINUTE_MS + 1, received_ms=T0_MS)): "future",
    }
    topic, key = system.topic("yfinance"), symbol.encode()
    system.topics.produce(topic, [(key, encode(good[1])), *((key, value) for value in bad), (key, None)])
    system.topics.produce(topic, [(None, framed), (key, encode(good[2]))])
    system.wait_drained(PATIENCE_S)
    found = sorted(letters(system, symbol), key=lambda letter: int(headers(letter)["offset"]))
    assert [(letter.value, headers(letter)["reason"]) for letter in found] == [*bad.items(), (None, "corrupt")]
    assert all(headers(letter)["error"] for letter in found)
    (letter,) = letters(system, None)
    assert (letter.value, headers(letter)["reason"]) == (framed, "no key")
    assert candle(system, symbol, "1m", T0_MS).trades == 2
    status, _ = system.workers["w0"].get("/health/ready")
    assert status == 200
