from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.sources.contract import PartlyBad, Refused
from stockstream.sources.finnhub.parse import parse

FRAMES = json.loads((Path(__file__).parents[3] / "data" / "finnhub" / "frames.json").read_text())
RECEIVED_MS = 1_800_000_000_123
GOOD = {"s": "AAPL", "p": 1.5, "t": 1_700_000_000_000, "v": 10, "c": ["1"]}


def read(name: str) -> list[Tick]:
    return parse(json.dumps(FRAMES[name]), RECEIVED_MS)


def frame(*trades: object) -> bytes:
    return json.dumps({"type": "trade", "data": trades}).encode()


def one(**fields: Any) -> Tick:
    (tick,) = parse(frame({**GOOD, **fields}), RECEIVED_MS)
    return tick


def test_the_documented_trade_of_a_cryptocurrency() -> None:
    assert read("documented") == [
        Tick(
            "FINNHUB:BINANCE:BTCUSDT",
            1_575_526_691_134,
            7296.89,
            0.011467,
            kind="trade",
            producer_timestamp=RECEIVED_MS,
            timestamp="1575526691134",
            exchange="BINANCE",
            source="finnhub",
        )
    ]


def test_two_trades_of_a_millisecond_stay_two_and_in_order() -> None:
    first, second = read("shares")
    assert (first.symbol, first.event_time, first.price, first.last_size) == (
        "FINNHUB:AAPL",
        1_628_238_530_221,
        146.76,
        43,
    )
    assert (second.symbol, second.event_time, second.price, second.last_size) == (
        "FINNHUB:AAPL", 1_628_238_530_221, 146.75, 1,
    )  # fmt: skip
    assert (first.conditions, second.conditions) == ("1", "1,24,12")
    assert (second.exchange, second.currency, second.trade_id, second.sequence) == ("US", "USD", -1, None)


def test_a_ping_is_nothing() -> None:
    assert read("ping") == []


def test_without_volume_it_is_an_update_of_the_price() -> None:
    assert one(v=0).kind == one(v=0.0).kind == "quote"
    assert one(v=1e-8).kind == "trade"


@pytest.mark.parametrize("codes", [None, []])
def test_condition_codes_may_be_missing(codes: object) -> None:
    assert one(c=codes).conditions is None
    bare = {name: value for name, value in GOOD.items() if name != "c"}
    assert parse(frame(bare), RECEIVED_MS)[0].conditions is None


@given(st.floats(min_value=1e-300, allow_nan=False, allow_infinity=False), st.integers(0, 2**60))
def test_numbers_come_as_they_are_written(price: float, size: int) -> None:
    tick = one(p=price, v=size)
    assert (tick.price, tick.last_size) == (price, float(size))


@pytest.mark.parametrize(("name", "symbols"), [("too_many", []), ("invalid", ["FINNHUB:SYM"])])
def test_what_finnhub_says_is_wrong_is_passed_on(name: str, symbols: list[str]) -> None:
    with pytest.raises(Refused, match=FRAMES[name]["msg"]) as error:
        read(name)
    assert error.value.symbols == symbols


BROKEN: list[object] = [
    None,
    17,
    [],
    {},
    {**GOOD, "s": "two words"},
    {**GOOD, "s": "x" * 60},
    {**GOOD, "s": 17},
    {**GOOD, "p": "1.5"},
    {**GOOD, "p": None},
    {**GOOD, "p": True},
    {**GOOD, "p": float("nan")},
    {**GOOD, "p": float("inf")},
    {**GOOD, "p": 10**400},
    {**GOOD, "v": None},
    {**GOOD, "v": [1]},
    {**GOOD, "t": 1.5},
    {**GOOD, "t": "1700000000000"},
    {**GOOD, "t": 0},
    {**GOOD, "t": 2**70},
    {**GOOD, "c": "1"},
    {**GOOD, "c": [1]},
    {**GOOD, "c": ["\ud800"]},
    {**GOOD, "c": {"1": 2}},
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_trade_that_is_none_does_not_cost_the_others(broken: object) -> None:
    with pytest.raises(PartlyBad, match="1 of 3 trades") as error:
        parse(frame(GOOD, broken, {**GOOD, "p": 2.5}), RECEIVED_MS)
    assert [tick.price for tick in error.value.ticks] == [1.5, 2.5]
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "17",
        "null",
        "{}",
        b"\xff\xfe",
        "[" * 100_000,
        '{"type":"news","data":[]}',
        '{"type":["trade"]}',
        '{"type":"trade"}',
        '{"type":"trade","data":null}',
        '{"type":"trade","data":{}}',
        '{"type":"error"}',
        '{"type":"error","msg":' + "1" * 5000 + "}",
        '{"type":"error","msg":' + "[" * 500 + "]" * 500 + "}",
    ],
)
def test_a_damaged_frame_is_a_bad_message(text: str | bytes) -> None:
    with pytest.raises(BadMessage):
        parse(text, RECEIVED_MS)


def is_fine(text: str | bytes) -> None:
    try:
        ticks = parse(text, RECEIVED_MS)
    except PartlyBad as error:
        ticks = error.ticks
    except BadMessage:
        return
    assert all(tick.kind in ("trade", "quote") and tick.symbol.startswith("FINNHUB:") for tick in ticks)


@given(st.binary())
def test_any_bytes_are_trades_or_a_bad_message(data: bytes) -> None:
    is_fine(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.lists(st.fixed_dictionaries({}, optional={name: JSON | st.just(value) for name, value in GOOD.items()}) | JSON)
)
def test_any_entries_are_trades_or_a_bad_message(entries: list[object]) -> None:
    is_fine(frame(*entries))


@given(st.data())
def test_a_frame_that_is_damaged_is_trades_or_a_bad_message(data: st.DataObject) -> None:
    good = bytearray(json.dumps(FRAMES[data.draw(st.sampled_from(sorted(FRAMES)))]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    is_fine(bytes(good[: data.draw(st.integers(0, len(good)))]))
