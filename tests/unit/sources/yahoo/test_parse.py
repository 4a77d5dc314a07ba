from __future__ import annotations

import base64
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.sources.yahoo.parse import parse
from stockstream.sources.yahoo.pricing import PricingData

FRAMES = json.loads((Path(__file__).parents[3] / "data" / "yahoo" / "frames.json").read_text())
RECEIVED_MS = 1_800_000_000_123


def read(name: str) -> Tick | None:
    return parse(json.dumps(FRAMES[name]), RECEIVED_MS)


def frame(**fields: Any) -> bytes:
    pricing = PricingData(**{"id": "AAPL", "price": 1.5, "time": 1_700_000_000_000, **fields})
    return json.dumps({"message": base64.b64encode(pricing.SerializeToString()).decode()}).encode()


def parsed(**fields: Any) -> Tick:
    tick = parse(frame(**fields), RECEIVED_MS)
    assert tick is not None
    return tick


def test_a_share_in_the_regular_session() -> None:
    assert read("regular") == Tick(
        "TSLA",
        1_617_815_434_000,
        676.08,
        day_volume=15_605_331,
        kind="snapshot",
        producer_timestamp=RECEIVED_MS,
        timestamp="1617815434000",
        exchange="NMS",
        quote_type=8,
        market_hours=1,
        change_percent=-2.2468953,
        change=-15.539978,
        price_hint="2",
    )


def test_before_the_open_the_session_is_pre_market_and_no_volume_is_known() -> None:
    tick = read("pre_market")
    assert tick is not None
    assert (tick.symbol, tick.event_time, tick.price) == ("AAPL", 1_779_437_422_000, 305.76)
    assert (tick.market_hours, tick.day_volume, tick.price_hint) == (0, -1, "2")


def test_rolling_volumes_of_a_cryptocurrency_are_no_volume_of_a_day_or_trade() -> None:
    tick = read("crypto")
    assert tick is not None
    assert (tick.symbol, tick.price, tick.currency, tick.exchange) == ("BTC-USD", 94745.08, "USD", "CCC")
    assert (tick.day_volume, tick.last_size, tick.volume_24h) == (-1, 0.0, 59_712_028_672.0)
    assert (tick.change, tick.change_percent) == (1431.8906, 1.5344921)


@pytest.mark.parametrize("fields", [{"exchange": "CCC"}, {"quote_type": 41}])
def test_either_sign_of_a_cryptocurrency_is_enough(fields: dict[str, Any]) -> None:
    tick = parsed(day_volume=5, last_size=6, **fields)
    assert (tick.day_volume, tick.last_size, tick.volume_24h) == (-1, 0.0, 5.0)


def test_quotes_and_sizes_are_taken_where_there_are_any() -> None:
    tick = parsed(bid=1.25, bid_size=3, ask=1.35, ask_size=4, last_size=7, day_volume=100)
    assert (tick.bid, tick.bid_size, tick.ask, tick.ask_size) == (1.25, 3.0, 1.35, 4.0)
    assert (tick.last_size, tick.day_volume) == (7.0, 100)
    bare = parsed()
    assert (bare.bid, bare.bid_size, bare.ask, bare.ask_size, bare.currency) == (None, None, None, None, None)


@pytest.mark.parametrize(
    "text",
    ["{}", '{"type":"pricing"}', '{"message":""}', '{"message":null}', frame(quote_type=7), frame(id="", quote_type=7)],
)
def test_what_carries_no_price_is_no_tick(text: str | bytes) -> None:
    assert parse(text, RECEIVED_MS) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "17",
        "null",
        b"\xff\xfe",
        "[" * 100_000,
        '{"message": 17}',
        '{"message": ["x"]}',
        '{"message": "not base64"}',
        '{"message": "AAAA"}',
        '{"message": "\\u00e9\\u00e9"}',
        '{"message": "CgRUU0x"}',
        frame(id="two words"),
        frame(id=""),
        frame(id="x" * 65),
    ],
)
def test_rubbish_is_a_bad_message(text: str | bytes) -> None:
    with pytest.raises(BadMessage):
        parse(text, RECEIVED_MS)


@given(st.floats(width=32, allow_nan=False))
def test_a_price_is_a_decimal_that_names_the_same_float32_and_no_shorter_one_does(price: float) -> None:
    read_price = parsed(price=price).price
    assert struct.pack("<f", read_price) == struct.pack("<f", price) or read_price == price == 0
    digits = len(f"{read_price:.17g}".partition("e")[0].replace(".", "").replace("-", "").strip("0"))
    shorter = min(8, len(repr(read_price).partition("e")[0].replace(".", "").replace("-", "").strip("0"))) - 1
    if 6 <= shorter < digits:
        with_less = float(f"{price:.{shorter}g}")
        assert abs(with_less) > 3.4028235e38 or struct.pack("<f", with_less) != struct.pack("<f", price)


@given(st.floats(width=32, allow_nan=False) | st.floats(-(2**24), 2**24, width=32))
def test_a_price_is_what_formatting_with_ever_more_digits_finds_first(price: float) -> None:
    for digits in range(6, 10):
        short = float(f"{price:.{digits}g}")
        if abs(short) <= 3.4028235e38 and struct.unpack("<f", struct.pack("<f", short))[0] == price:
            break
    assert parsed(price=price).price == (short if abs(price) != float("inf") else price)


@given(st.floats(0.01, 99999, allow_nan=False).map(lambda price: round(price, 2)))
def test_a_price_in_cents_comes_back_as_it_was(price: float) -> None:
    assert parsed(price=price).price == price


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_the_way_a_frame_is_spaced_does_not_matter(name: str) -> None:
    compact = json.dumps(FRAMES[name], separators=(",", ":"))
    assert parse(compact.encode(), RECEIVED_MS) == parse(compact, RECEIVED_MS) == read(name)


@given(st.binary())
def test_any_bytes_are_a_tick_nothing_or_a_bad_message(data: bytes) -> None:
    packed = base64.b64encode(data)
    compact = b'{"type":"pricing","message":"%s"}'
    for text in (data, compact % data, compact % packed, json.dumps({"message": packed.decode()})):
        try:
            tick = parse(text, RECEIVED_MS)
        except BadMessage:
            continue
        assert tick is None or isinstance(tick, Tick)


@given(st.data())
def test_a_damaged_frame_is_a_tick_nothing_or_a_bad_message(data: st.DataObject) -> None:
    good = bytearray(base64.b64decode(FRAMES[data.draw(st.sampled_from(sorted(FRAMES)))]["message"]))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    try:
        tick = parse(json.dumps({"message": base64.b64encode(cut).decode()}), RECEIVED_MS)
    except BadMessage:
        return
    assert tick is None or isinstance(tick, Tick)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_nothing_or_a_bad_message(content: object) -> None:
    with suppress(BadMessage):
        assert parse(json.dumps(content), RECEIVED_MS) is None
