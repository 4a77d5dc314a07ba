"""Recordings of every format: the same rows are the same ticks, and what is none is named."""

from __future__ import annotations

import decimal
import gc
import io
import os
import subprocess
import sys
import threading
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from click.testing import CliRunner
from pyarrow import parquet
from recordings import FORMATS, T0_MS, Row, recording, write_parquet

from stockstream.cli.main import main
from stockstream.errors import InvalidInput, MalformedTrades
from stockstream.models import Tick
from stockstream.sources.replay.files import open_recording
from stockstream.sources.replay.rows import TimeUnit

TRADE: Row = {"event_ms": T0_MS, "trade_id": 1, "price": 1.5, "size": 2.0}


def read(path: Path, **columns: str) -> list[Tick]:
    with open_recording(str(path), columns) as recorded:
        return list(recorded)


def expected(row: Row) -> Tick:
    kind = row.get("kind", "trade")
    return Tick(
        row["symbol"],
        row["event_ms"],
        row.get("price", 0.0),
        row.get("size", 0.0),
        row.get("day_volume", -1),
        row.get("trade_id", -1),
        kind=kind,
        producer_timestamp=row.get("received_ms", row["event_ms"]),
        source="replay",
        until=row.get("until_ms"),
        cause=row.get("cause"),
    )


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_ticks(form: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded"
    FORMATS[form](path, recording())
    ticks = read(path)
    assert {tick.kind for tick in ticks} == {"trade", "snapshot", "quote", "start", "gap", "repair"}
    assert ticks == [expected(row) for row in recording()]


@pytest.mark.parametrize("form", FORMATS)
def test_all_of_a_file_has_been_read_at_its_end(form: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded"
    FORMATS[form](path, recording())
    with open_recording(str(path)) as recorded:
        assert recorded.has_symbol
        assert recorded.size_bytes == path.stat().st_size
        assert list(recorded)
        assert recorded.position_bytes == recorded.size_bytes


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"event_ms": 0}, "event_ms is 0: must be Unix time in ms"),
        ({"price": 0.0}, "price is 0.*: must be above 0"),
        ({"price": -1.5}, "price is '?-1.5'?: must be .*above 0"),
        ({"price": float("nan")}, "price is '?(nan|NaN)'?: must be"),
        ({"size": -1.0}, "size is '?-1(.0)?'?: must be a number from 0"),
        ({"trade_id": -1}, "trade_id is '?-1'?: must be a whole number"),
        ({"symbol": "VN 30"}, "symbol is 'VN 30': use 1 to 64 of"),
        ({"kind": "auction"}, "kind is 'auction': must be one of trade, snapshot, quote, start, gap"),
        ({"kind": "gap"}, "until_ms is missing: a gap must end"),
        ({"kind": "repair"}, "until_ms is missing: a repair must end"),
        ({"kind": "gap", "until_ms": T0_MS - 1}, "until_ms is .*not before it begins"),
        ({"received_ms": 0}, "received_ms is 0: must be Unix time in ms"),
    ],
)
def test_a_row_that_is_no_tick_is_named(form: str, broken: Row, said: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded"
    good: Row = {"symbol": "A", "kind": "trade", "received_ms": T0_MS, **TRADE}
    FORMATS[form](path, [good, good, {**good, **broken}, good])
    with open_recording(str(path)) as recorded:
        ticks = iter(recorded)
        assert [next(ticks).trade_id, next(ticks).trade_id] == [1, 1]
        with pytest.raises(MalformedTrades, match=said) as error:
            next(ticks)
    assert error.value.line == {"csv": 4}.get(form, 3)
    assert f"recorded, {'row' if form == 'parquet' else 'line'} {error.value.line}: " in str(error.value)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["event_ms", "received_ms", "until_ms"])
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1_700_000_000, "which is no time in ms: it looks like seconds, which --time-unit s reads"),
        (1_700_000_000_123_456, "it looks like microseconds, which --time-unit us reads"),
        (1_700_000_000_123_456_789, "it looks like nanoseconds, which --time-unit ns reads"),
        (20_231_114, "must be Unix time in ms, of the years 1980 to 2099, or in what --time-unit says"),
        (20_231_114_221_320, "must be Unix time in ms, of the years 1980 to 2099, or in what --time-unit says"),
        (315_532_799_999, "of the years 1980 to 2099"),
        (4_102_444_800_000, "of the years 1980 to 2099"),
    ],
)
def test_a_time_that_cannot_be_is_named_with_what_to_do(
    form: str, name: str, number: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "recorded"
    gap: Row = {**TRADE, "symbol": "A", "kind": "gap", "until_ms": T0_MS, "received_ms": T0_MS}
    FORMATS[form](path, [gap, {**gap, name: number}])
    with open_recording(str(path)) as recorded:
        ticks = iter(recorded)
        next(ticks)
        with pytest.raises(MalformedTrades, match=f"{name} is {number}.* {said}") as error:
            next(ticks)
    assert error.value.line == {"csv": 3}.get(form, 2)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("unit", "numbers"),
    [
        ("s", [1_700_000_000, 315_532_800, 4_102_444_799]),
        ("ms", [1_700_000_000_000, 315_532_800_000, 4_102_444_799_000]),
        ("us", [1_700_000_000_000_999, 315_532_800_000_000, 4_102_444_799_000_001]),
        ("ns", [1_700_000_000_000_999_999, 315_532_800_000_000_000, 4_102_444_799_000_000_001]),
    ],
)
def test_numbers_of_every_unit_are_read_when_it_is_said(
    form: str, unit: TimeUnit, numbers: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "recorded"
    gap: Row = {**TRADE, "symbol": "A", "kind": "gap"}
    rows = [{**gap, "event_ms": at, "until_ms": at, "received_ms": at} for at in numbers]
    FORMATS[form](path, rows)
    with open_recording(str(path), unit=unit) as recorded:
        ticks = list(recorded)
    for tick, at_s in zip(ticks, [1_700_000_000, 315_532_800, 4_102_444_799], strict=True):
        assert (tick.event_time, tick.until, tick.producer_timestamp) == (at_s * 1000,) * 3


@pytest.mark.parametrize("form", FORMATS)
def test_a_unit_that_is_said_is_believed_but_for_what_is_surely_of_another(form: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded"
    FORMATS[form](path, [{**TRADE, "event_ms": 60_000}, TRADE])
    with open_recording(str(path), unit="ms") as recorded:
        assert [tick.event_time for tick in recorded] == [60_000, T0_MS]
    others: list[TimeUnit] = ["s", "us", "ns"]
    for unit in others:
        FORMATS[form](path, [TRADE])
        with (
            open_recording(str(path), unit=unit) as recorded,
            pytest.raises(MalformedTrades, match=f"no time in {unit}: it looks like milliseconds, .* --time-unit ms"),
        ):
            list(recorded)


def test_timestamps_know_their_unit_and_those_made_of_another_are_named(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    columns = {name: [value] for name, value in TRADE.items()}

    def write(at: int, kind: str) -> None:
        parquet.write_table(pyarrow.table(columns | {"event_ms": pyarrow.array([at], pyarrow.timestamp(kind))}), path)

    write(T0_MS, "ms")
    with open_recording(str(path), unit="s") as recorded:
        assert [tick.event_time for tick in recorded] == [T0_MS]
    for at, kind, told in ((1_700_000_000, "ms", "1970-01-20"), (T0_MS * 1000, "ms", "55840-11-08")):
        write(at, kind)
        with pytest.raises(MalformedTrades, match=f"event_ms is {told}.*: must be of the years 1980 to 2099"):
            read(path)


def test_a_value_that_is_missing_in_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    for name in TRADE:
        write_parquet(path, [TRADE, {**TRADE, name: None}])
        with pytest.raises(MalformedTrades, match=f"row 2: {name} is missing"):
            read(path)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        (
            "price",
            ["1.5"],
            "column price is of type string: must hold numbers; cast it, or name another with --columns price=",
        ),
        ("trade_id", [1.0], "column trade_id is of type double: must hold whole numbers"),
        ("event_ms", ["2023"], "column event_ms is of type string: must hold Unix times in ms, or timestamps"),
        ("symbol", [7], "column symbol is of type int64: must hold text"),
    ],
)
def test_a_column_of_a_wrong_type_is_named(column: str, values: list[Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    parquet.write_table(pyarrow.table({name: [value] for name, value in TRADE.items()} | {column: values}), path)
    with pytest.raises(MalformedTrades, match=said):
        read(path)


def test_a_column_that_is_missing_is_named_and_may_be_mapped(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    write_parquet(path, [{"event_ms": T0_MS, "trade_id": 1, "px": 1.5, "size": 2.0}])
    with pytest.raises(MalformedTrades, match=r"column price is missing from the schema .*--columns price=…"):
        read(path)
    assert [tick.price for tick in read(path, price="px")] == [1.5]


@pytest.mark.parametrize("form", FORMATS)
def test_a_column_that_means_something_else_can_be_left_unread(form: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded"
    FORMATS[form](path, [{**TRADE, "kind": "market"}])
    with pytest.raises(MalformedTrades, match=r"kind is 'market'.*--columns kind=-"):
        read(path)
    assert [tick.kind for tick in read(path, kind="-")] == ["trade"]


def test_parquet_may_hold_timestamps_decimals_and_dictionaries(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    at = datetime.fromtimestamp(T0_MS / 1000, UTC)
    table = {
        "event_ms": pyarrow.array([at], pyarrow.timestamp("ns", "America/New_York")),
        "received_ms": pyarrow.array([at.replace(tzinfo=None)], pyarrow.timestamp("us")),
        "trade_id": pyarrow.array([7], pyarrow.uint16()),
        "price": pyarrow.array([decimal.Decimal("1.50")], pyarrow.decimal128(10, 2)),
        "size": pyarrow.array([3], pyarrow.int32()),
        "symbol": pyarrow.array(["AAPL"]).dictionary_encode(),
    }
    parquet.write_table(pyarrow.table(table), path)
    [tick] = read(path)
    assert tick == Tick("AAPL", T0_MS, 1.5, 3.0, trade_id=7, producer_timestamp=T0_MS, source="replay")


def test_parquet_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    write_parquet(path, recording())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidInput, match="is no Parquet that can be read"):
        read(path)


def test_parquet_that_is_damaged_inside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    write_parquet(path, recording())
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 2] = b"\xff" * (len(data) // 2 - len(data) // 4)
    path.write_bytes(data)
    with pytest.raises(MalformedTrades, match="damaged or cut off here"):
        read(path)


def test_parquet_whose_metadata_are_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    write_parquet(path, [TRADE])
    path.write_bytes(path.read_bytes().replace(b"event_ms", b"event\xff\xfe\xfd"))
    with pytest.raises(InvalidInput):
        read(path)


def test_parquet_on_standard_input_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    write_parquet(path, [TRADE])
    with path.open("rb") as file:
        result = CliRunner().invoke(main, ["candles", "-", "--interval", "1m"], input=io.BytesIO(file.read()))
    assert result.exit_code == 1
    assert (
        result.stderr
        == "stockstream: standard input is Parquet, which has to be a file that can be searched: give its path\n"
    )


def test_without_pyarrow_one_line_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    write_parquet(path, [TRADE])
    script = "import sys; sys.modules['pyarrow'] = None\nfrom stockstream.cli.main import main; main()"
    arguments = ["candles", str(path), "--interval", "1m"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "pip install 'stockstream[parquet]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_pipe_is_read_from_its_beginning(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("event_ms,trade_id,price,size\n1700000000000,2,3,4\n",))
    writer.start()
    assert [tick.trade_id for tick in read(pipe)] == [2]
    writer.join()


def test_memory_does_not_grow_with_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    rows = 100_000
    table = pyarrow.table(
        {
            "event_ms": range(T0_MS + 1, T0_MS + rows + 1),
            "trade_id": range(rows),
            "price": [1.5 + n / 7 for n in range(rows)],
            "size": [n / 3 for n in range(rows)],
        }
    )
    parquet.write_table(table, path, row_group_size=15_000, use_dictionary=False, compression="none")
    whole = table.nbytes
    del table
    gc.collect()
    held = pyarrow.total_allocated_bytes()
    most = 0
    tracemalloc.start()
    try:
        with open_recording(str(path)) as recorded:
            for number, tick in enumerate(recorded, 1):
                assert tick.event_time == T0_MS + number
                if number % 5_000 == 0:
                    most = max(most, pyarrow.total_allocated_bytes() - held)
        assert number == rows
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert most < whole / 2 < path.stat().st_size
