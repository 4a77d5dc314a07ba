"""`stockstream candles` against other programs: the candles of real trades, and of awkward ones by a plain sort."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stockstream.cli.main import main
from stockstream.sources.replay.trades_file import SAMPLE

DATA = Path(__file__).parents[1] / "data" / "xrp_eth_2019"
LENGTHS_MS = {"1m": 60_000, "5m": 300_000, "1d": 86_400_000}
FIELDS = ("event_ms", "trade_id", "side", "price", "size", "symbol")

Trade = tuple[int, int, str, str, str, str]


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["candles", *arguments], input=stdin)


def rows(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


@pytest.mark.parametrize("interval", ["1m", "5m"])
def test_real_trades_give_the_candles_of_another_program(interval: str) -> None:
    ours = rows(run(str(SAMPLE), "--interval", interval))
    with (DATA / f"candles_{interval}.csv").open() as file:
        theirs = list(csv.DictReader(file))
    assert len(ours) == len(theirs) == {"1m": 2469, "5m": 706}[interval]
    for got, expected in zip(ours, theirs, strict=True):
        assert got["start_ms"] == expected["start_ms"]
        for price in ("open", "high", "low", "close"):
            assert float(got[price]) == float(expected[price]), got
        assert abs(float(got["volume"]) - float(expected["volume"])) <= 1e-6


def test_a_minute_without_a_trade_has_no_row_and_days_are_utc() -> None:
    days = rows(run(str(SAMPLE), "--interval", "1d"))
    assert [int(day["start_ms"]) % 86_400_000 for day in days] == [0, 0, 0]
    assert sum(int(day["trades"]) for day in days) == 12_477


def awkward(seed: int, count: int = 20_000) -> list[Trade]:
    """Two symbols, several trades a millisecond, disorder of seconds, duplicates, holes of minutes, sparse ids."""
    rng = random.Random(seed)
    trades: list[Trade] = []
    now_ms, next_id = 1_700_000_000_000, {"AAA": 10, "BINANCE:BBB": 7_000_000_000}
    while len(trades) < count:
        roll = rng.random()
        now_ms += 0 if roll < 0.3 else rng.randint(1, 400) if roll < 0.999 else rng.randint(60_000, 900_000)
        symbol = rng.choice(list(next_id))
        next_id[symbol] += rng.choice([1, 1, 2, 1000])
        price = f"{rng.randint(1, 10**9)}e-5" if rng.random() < 0.01 else f"{rng.randint(1, 10**7) / 10**4:.4f}"
        size = rng.choice([f"{rng.randint(1, 10**10) / 10**8:.8f}", str(rng.randint(1, 10**6)), "0.00000001"])
        trades.append((now_ms, next_id[symbol], rng.choice(["buy", "sell"]), price, size, symbol))
    trades += rng.sample(trades, count // 20)
    return sorted(trades, key=lambda trade: trade[0] + rng.uniform(0, 5000))


def reference(trades: Sequence[Trade], interval: str) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Candles by sorting and grouping, with exact sums."""
    groups: dict[tuple[str, int], list[Trade]] = defaultdict(list)
    for trade in sorted(set(trades)):
        groups[trade[5], trade[0] - trade[0] % LENGTHS_MS[interval]].append(trade)
    candles = {}
    for key, group in groups.items():
        prices = [float(trade[3]) for trade in group]
        volume = sum((Fraction(trade[4]) for trade in group), Fraction())
        turnover = sum((Fraction(trade[3]) * Fraction(trade[4]) for trade in group), Fraction())
        candles[key] = (prices[0], max(prices), min(prices), prices[-1], volume, turnover / volume, len(group))
    return candles


def as_csv(trades: Sequence[Trade]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([FIELDS, *trades])
    return text.getvalue().encode()


def as_json_lines(trades: Sequence[Trade]) -> bytes:
    return b"".join(
        json.dumps({**dict(zip(FIELDS, trade, strict=True)), "price": float(trade[3])}).encode() + b"\n"
        for trade in trades
    )


@pytest.mark.parametrize("written", [as_csv, as_json_lines, lambda trades: gzip.compress(as_csv(trades))])
@pytest.mark.parametrize("interval", ["1m", "5m", "1d"])
def test_awkward_trades_come_out_as_if_sorted_and_unique(
    interval: str, written: Callable[[Sequence[Trade]], bytes], tmp_path: Path
) -> None:
    trades = awkward(seed=1)
    file = tmp_path / "trades"
    file.write_bytes(written(trades))
    result = run(str(file), "--interval", interval)
    assert result.stderr == ""
    ours = rows(result)
    expected = reference(trades, interval)
    assert [(row["symbol"], int(row["start_ms"])) for row in ours] == sorted(expected)
    for row in ours:
        opened, high, low, close, volume, vwap, count = expected[row["symbol"], int(row["start_ms"])]
        assert tuple(float(row[name]) for name in ("open", "high", "low", "close")) == (opened, high, low, close)
        assert Fraction(row["volume"]) == volume
        assert float(row["vwap"]) == pytest.approx(float(vwap), rel=1e-12)
        assert int(row["trades"]) == count


def test_any_order_and_standard_input_give_the_same_bytes(tmp_path: Path) -> None:
    trades = awkward(seed=2, count=3000)
    sorted_file = tmp_path / "trades.csv"
    sorted_file.write_bytes(as_csv(sorted(set(trades))))
    one = run(str(sorted_file), "--interval", "1m")
    other = run("-", "--interval", "1m", stdin=gzip.compress(as_csv(trades)))
    assert one.exit_code == other.exit_code == 0
    assert one.stdout_bytes == other.stdout_bytes


@pytest.mark.parametrize("interval", ["1m", "5m", "1d"])
def test_times_and_symbols_choose_among_the_candles_and_change_none(interval: str, tmp_path: Path) -> None:
    trades = awkward(seed=3, count=6000)
    file = tmp_path / "trades.csv"
    file.write_bytes(as_csv(trades))
    whole = rows(run(str(file), "--interval", interval))
    starts_ms = sorted({int(row["start_ms"]) for row in whole})
    from_ms, to_ms = starts_ms[len(starts_ms) // 3], starts_ms[2 * len(starts_ms) // 3] + 1
    for bounds in ({"--from": from_ms}, {"--to": to_ms}, {"--from": from_ms, "--to": to_ms}):
        options = [text for name, at_ms in bounds.items() for text in (name, str(at_ms))]
        chosen = [
            row
            for row in whole
            if bounds.get("--from", 0) <= int(row["start_ms"]) < bounds.get("--to", starts_ms[-1] + 1)
        ]
        assert rows(run(str(file), "--interval", interval, *options)) == chosen
        only = rows(run(str(file), "--interval", interval, *options, "--symbols", "BINANCE:BBB"))
        assert only == [row for row in chosen if row["symbol"] == "BINANCE:BBB"]
    both = rows(run(str(file), "--interval", interval, "--symbols", "AAA,BINANCE:BBB"))
    assert both == whole


def test_a_date_is_the_beginning_of_that_day_in_utc() -> None:
    whole = rows(run(str(SAMPLE), "--interval", "5m"))
    bounds = ("--from", "2019-10-12", "--to", "2019-10-12T01:02:03Z")
    chosen = rows(run(str(SAMPLE), "--interval", "5m", *bounds))
    day_ms = 1_570_838_400_000
    assert chosen == [row for row in whole if day_ms <= int(row["start_ms"]) < day_ms + 3_723_000]
    assert len(chosen) >= 5


def test_a_cumulative_volume_counts_from_what_lies_before_the_first_candle() -> None:
    """The differences of a day begin at its first snapshot, whichever of its candles are printed."""
    day_ms = 1_700_006_400_000
    lines = ["event_ms,trade_id,price,size,kind,day_volume", f"{day_ms},,,,start,"]
    lines += [f"{day_ms + n * 30_000},,{100 + n},,snapshot,{1000 + 7 * n * n}" for n in range(1, 40)]
    text = "\n".join(lines).encode()
    whole = rows(run("-", stdin=text))
    chosen = rows(run("-", "--from", str(day_ms + 600_000), stdin=text))
    assert chosen == [row for row in whole if int(row["start_ms"]) >= day_ms + 600_000]
    assert all(row["volume"] for row in chosen)


def test_candles_are_of_a_minute_unless_told_otherwise() -> None:
    assert run(str(SAMPLE)).stdout == run(str(SAMPLE), "--interval", "1m").stdout


def test_symbols_are_chosen_by_a_column_which_may_have_another_name() -> None:
    text = b"event_ms,trade_id,price,size,pair\n1700000000000,1,2,1,A\n1700000000000,1,3,1,B\n"
    chosen = rows(run("-", "--symbols", "B", "--columns", "symbol=pair", stdin=text))
    assert [(row["symbol"], row["open"]) for row in chosen] == [("B", "3.0")]
    result = run("-", "--symbols", "B", stdin=text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--columns symbol=" in result.stderr


def test_an_empty_span_is_bad_usage() -> None:
    for form in ((str(SAMPLE),), ("--topic", "yfinance")):
        result = run(*form, "--from", "2024-01-02", "--to", "2024-01-02")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--from must be earlier than --to" in result.stderr


def test_columns_can_have_other_names() -> None:
    text = b"px,when,id,qty\n1.5,60000,1,2\n1.25,60001,2,0.5\n"
    mapped = "event_ms=when,price=px,trade_id=id,size=qty"
    assert run("-", "--columns", mapped, "--time-unit", "ms", stdin=text).stdout == (
        "start_ms,open,high,low,close,volume,vwap,trades\n60000,1.5,1.5,1.25,1.25,2.5,1.45,2\n"
    )


def test_numbers_are_written_without_exponents() -> None:
    text = b"event_ms,trade_id,side,price,size\n1700000000000,1,buy,0.00000012,0.00000001\n"
    assert run("-", "--interval", "1m", stdin=text).stdout.splitlines()[1].startswith("1699999980000,0.00000012,")


def test_a_header_alone_gives_a_header_alone() -> None:
    result = run("-", "--interval", "1m", stdin=b"event_ms,trade_id,side,price,size\n")
    assert (result.exit_code, result.stdout) == (0, "start_ms,open,high,low,close,volume,vwap,trades\n")


def test_trades_that_no_candle_can_hold_are_told() -> None:
    at_ms = 1_700_000_000_000
    text = (
        f"event_ms,trade_id,price,size,received_ms\n{at_ms},1,1,1,\n{at_ms},2,1e16,1,\n{at_ms},3,1,1,{at_ms - 60_001}\n"
    )
    result = run("-", "--interval", "1m", stdin=text.encode())
    assert result.exit_code == 0
    assert result.stderr == "stockstream: 2 trades left out: bad price 1, future 1\n"


def test_seconds_in_place_of_milliseconds_are_no_candles_of_1970() -> None:
    text = b"event_ms,trade_id,price,size\n1700000000,1,2,1\n1700000061,2,3,1\n"
    result = run("-", stdin=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "stockstream: standard input, line 2: event_ms is 1700000000, which is no time in ms: it looks like seconds, "
        "which --time-unit s reads\n"
    )
    starts_ms = [row["start_ms"] for row in rows(run("-", "--time-unit", "s", stdin=text))]
    assert starts_ms == ["1699999980000", "1700000040000"]


def test_bounds_in_seconds_are_bad_usage() -> None:
    result = run(str(SAMPLE), "--from", "1570838400")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "looks like seconds: give milliseconds" in result.stderr


def test_a_topic_has_its_own_times() -> None:
    result = run("--topic", "yfinance", "--time-unit", "s")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--time-unit" in result.stderr


def test_a_files_trades_have_one_session() -> None:
    result = run(str(SAMPLE), "--session", "extended")
    assert result.exit_code == 2
    assert "a file's trades are all of one session" in result.output
    assert run(str(SAMPLE), "--session", "regular").stdout == run(str(SAMPLE)).stdout


def test_of_a_file_nothing_is_late() -> None:
    result = run(str(SAMPLE), "--rebuilt")
    assert result.exit_code == 2
    assert "of a file nothing is late" in result.output
