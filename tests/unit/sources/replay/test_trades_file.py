from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from stockstream.errors import InvalidInput, MalformedTrades
from stockstream.models import Tick
from stockstream.sources.replay.trades_file import TradesFile

HEADER = "event_ms,trade_id,side,price,size\n"


def read(path: Path, text: str | bytes, **columns: str) -> list[Tick]:
    path = path / "trades.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with TradesFile(str(path), columns, unit="ms") as trades:
        return list(trades)


def test_a_line_is_a_trade(tmp_path: Path) -> None:
    [tick] = read(tmp_path, HEADER + "1570752011620,13519807,sell,0.00141342,23.0\n")
    assert tick == Tick(
        "TRADES", 1570752011620, 0.00141342, 23.0, trade_id=13519807, producer_timestamp=1570752011620, source="replay"
    )


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + "1,2,buy,3,4\r\n\r\n",
        "size,price,event_ms,note,trade_id\n4,3,1,hello,2\n",
        ' "event_ms", trade_id,side,price,size\n1, 2,buy,3,"4"\n',
        '\n{"event_ms": 1, "trade_id": 2, "price": 3, "size": 4.0, "more": []}\n\n',
        '{"event_ms": "1", "trade_id": "2", "price": "3", "size": "4"}',
    ],
)
def test_ways_to_write_the_same_trade(tmp_path: Path, text: str) -> None:
    [tick] = read(tmp_path, text)
    assert (tick.event_time, tick.trade_id, tick.price, tick.last_size) == (1, 2, 3.0, 4.0)
    assert read(tmp_path, gzip.compress(text.encode())) == [tick]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x,2,buy,3,4", "event_ms is 'x'"),
        ("1.5,2,buy,3,4", "event_ms is '1.5'"),
        ("-1,2,buy,3,4", "event_ms is '-1'"),
        ("0,2,buy,3,4", "event_ms is 0"),
        ("1,,buy,3,4", "trade_id is ''"),
        ("1,9223372036854775808,buy,3,4", "trade_id"),
        ("1,2,buy,nan,4", "price is 'nan'"),
        ("1,2,buy,inf,4", "price is 'inf'"),
        ("1,2,buy,0,4", "price is 0"),
        ("1,2,buy,-3,4", "price is '-3'"),
        ("1,2,buy,1_0,4", "price is '1_0'"),
        ("1,2,buy,,4", "price is ''"),
        ("1,2,buy,3,-4", "size is '-4'"),
        ("1,2,buy,3,nan", "size is 'nan'"),
        ("1,2,buy,3", "it has 4 values, the header 5"),
        ("1,2,buy,3,4,5", "it has 6 values, the header 5"),
        ("1,2,buy,3," + "4" * 200_000, "field larger"),
        ("1,2,buy,3," + "4" * 1_100_000, "longer than"),
    ],
)
def test_a_line_that_is_no_trade_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(MalformedTrades) as error:
        read(tmp_path, HEADER + "1,1,buy,1,1\n" + line + "\n1,1,buy,1,1\n")
    assert error.value.line == 3
    assert said in str(error.value)
    assert f"trades.csv, line 3: {said}"[:20] in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1700000000", 1_700_000_000_000),
        ("1700000000.", 1_700_000_000_000),
        ("1700000000.1", 1_700_000_000_100),
        ("1700000000.9999", 1_700_000_000_999),
        ("1700000000.29", 1_700_000_000_290),  # as a float it would be cut off to .289
        ("4102444799.999999999999999999999", 4_102_444_799_999),
    ],
)
def test_seconds_may_have_decimals(tmp_path: Path, text: str, at_ms: int) -> None:
    path = tmp_path / "trades.csv"
    for written in (HEADER + f"{text},1,buy,1,1\n", f'{{"event_ms":"{text}","trade_id":1,"price":1,"size":1}}\n'):
        path.write_text(written)
        with TradesFile(str(path), unit="s") as trades:
            assert [tick.event_time for tick in trades] == [at_ms]


def test_seconds_with_decimals_are_named_where_the_unit_is_not_said(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(HEADER + "1700000000.25,1,buy,1,1\n")
    with (
        TradesFile(str(path)) as trades,
        pytest.raises(MalformedTrades, match="looks like seconds, which --time-unit s"),
    ):
        list(trades)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "empty"),
        ("event_ms,trade_id,side,size\n1,2,buy,3\n", 1, "column price is missing"),
        ("event_ms,trade_id,side,price,price,size\n", 1, "price comes twice"),
        (HEADER.encode() + b"1,2,buy,3,4\n\xff\xfe,2,buy,3,4\n", 3, "UTF-8"),
        ('{"event_ms": 1, "trade_id": 2, "price": 3, "size": 4}\n{"event_ms": 1}', 2, "trade_id is missing"),
        ('{"event_ms": 1, "trade_id": 2, "price": 3, "size": true}', 1, "size is 'True'"),
        ('{"event_ms": 1, "trade_id": 2, "price": NaN, "size": 1}', 1, "price is 'NaN'"),
        ('{"event_ms": 1, "trade_id": 2, "price": 3, "size": 4}\nnothing', 2, "no JSON"),
        ('{"event_ms": 1, "trade_id": 2, "price": 3, "size": 4}\n[1]', 2, "no JSON object"),
        ('{"event_ms":1,"trade_id":2,"price":3,"size":4}\n{"event_ms":1,"symbol":"A"}', 2, "every line has a symbol"),
        ("symbol,event_ms,trade_id,price,size\nVN 30,1,2,3,4\n", 2, "symbol is 'VN 30'"),
    ],
)
def test_a_file_that_holds_no_trades_is_refused(tmp_path: Path, text: str | bytes, line: int, said: str) -> None:
    with pytest.raises(MalformedTrades, match=said) as error:
        read(tmp_path, text)
    assert error.value.line == line


def test_a_gzip_that_is_cut_off_is_named(tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "".join(f"{n},{n},buy,1.{n},1\n" for n in range(1, 5000))).encode())
    with pytest.raises(MalformedTrades, match="damaged or cut off"):
        read(tmp_path, whole[:-2000])


@pytest.mark.parametrize("path", ["/nowhere/trades.csv", "/"])
def test_a_file_that_cannot_be_opened_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        TradesFile(path)


def test_a_symbol_column_is_used(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("isin,event_ms,trade_id,price,size\nA,1,2,3,4\nB,1,2,3,4\n")
    with TradesFile(str(path), {"symbol": "isin"}, unit="ms") as trades:
        assert trades.has_symbol
        assert [tick.symbol for tick in trades] == ["A", "B"]
        assert trades.position_bytes == trades.size_bytes


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(HEADER + "".join(f"{n},{n},buy,1.5,1\n" for n in range(1, 100_000)))
    tracemalloc.start()
    try:
        with TradesFile(str(path), unit="ms") as trades:
            assert sum(1 for _ in trades) == 99_999
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
