"""The formats of earlier producers, read as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.codecs import BadRecord, TickDecoder
from stockstream.codecs.plain_json import decode_json
from stockstream.core.offline import OfflineEngine
from stockstream.core.verdict import Policy
from stockstream.errors import BadMessage
from stockstream.models import TICK_SCHEMA_V1, Tick, Verdict

SEEDS = Path(__file__).parents[2] / "data" / "seeds"
LINES = (SEEDS / "ticker_24h.jsonl").read_bytes().splitlines()
AT_MS, RECEIVED_MS = 1_499_869_899_040, 1_499_869_899_123
FIGURES = ("open", "high", "low", "volume", "quote_volume", "number_trades", "price_change", "price_change_percent")


class Schemas:
    async def schema(self, schema_id: int) -> Any:
        if schema_id != 7:
            raise BadMessage("there is no such schema")
        return json.loads((SEEDS / "stock_v1.avsc").read_text())


def ticker(**changes: Any) -> dict[str, Any]:
    return {**json.loads(LINES[1]), **changes}


def read(record: dict[str, Any], key: bytes | None = None) -> Tick:
    return decode_json(json.dumps(record).encode(), key)


async def test_version_1_is_read_as_it_was_written() -> None:
    record = json.loads((SEEDS / "stock_v1.json").read_text())
    value = bytes.fromhex((SEEDS / "stock_v1.hex").read_text())
    decoder = TickDecoder(Schemas())
    await decoder.prepare([value])
    expected = {**record, "event_time": int(record["timestamp"]), "kind": "snapshot"}
    assert decoder.decode(b"TSLA", value) == Tick(**expected)
    assert json.loads((SEEDS / "stock_v1.avsc").read_text()) == TICK_SCHEMA_V1
    assert decode_json((SEEDS / "stock_v1.json").read_bytes()) == Tick(**expected)


@pytest.mark.parametrize("line", range(len(LINES)))
def test_a_ticker_is_a_quote_with_its_figures(line: int) -> None:
    # Local time without a zone says nothing of the reception, and a time that stands alone is that of the event.
    received_ms = {0: 0, 4: AT_MS}.get(line, RECEIVED_MS)
    assert TickDecoder(Schemas()).decode(b"BNBBTC", LINES[line]) == Tick(
        "BNBBTC",
        AT_MS,
        4.000002,
        kind="quote",
        producer_timestamp=received_ms,
        source="ticker_24h",
        change=-94.999998,
        change_percent=-95.96,
        open_24h=99.0,
        high_24h=100.0,
        low_24h=0.1,
        volume_24h=8913.3,
        quote_volume_24h=15.3,
        trades_24h=76,
        price_change_24h=-94.999998,
    )


def test_a_ticker_moves_no_candle() -> None:
    engine = OfflineEngine(Policy())
    verdicts = engine.add([decode_json(line) for line in LINES])
    engine.finish()
    assert verdicts == [Verdict.ACCEPTED] * len(LINES)
    assert list(engine.candles("1m")) == []


def test_its_symbol_is_what_it_is_keyed_by() -> None:
    decoder = TickDecoder(Schemas())
    assert decoder.decode(b"BNBBTC", LINES[0]).symbol == "BNBBTC"
    assert decoder.decode(b"BINANCE:BNBBTC", LINES[0]).symbol == "BINANCE:BNBBTC"
    for key in (b"BTC", b"XBNBBTC", b"BINANCE:ETHBTC"):
        with pytest.raises(BadRecord) as raised:
            decoder.decode(key, LINES[0])
        assert raised.value.verdict is Verdict.KEY_MISMATCH
    with pytest.raises(BadRecord):
        decoder.decode(None, LINES[0])


@pytest.mark.parametrize("name", FIGURES)
def test_figures_may_be_absent_or_null(name: str) -> None:
    without = {key: value for key, value in ticker().items() if key != name}
    assert read(without).kind == "quote"
    assert read(ticker(**{name: None})) == read(without)


def test_json_with_our_own_names_is_no_ticker() -> None:
    assert read({"symbol": "A", "price": 1, "event_time": 5}).kind == "snapshot"
    assert read({"symbol": "A", "price": 1, "event_time": 5, "kind": "trade", "price_change": 1}).kind == "trade"


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        (1_700_000_000, 1_700_000_000_000), ("1700000000.25", 1_700_000_000_250),
        (1_700_000_000_123, 1_700_000_000_123), (1_700_000_000_123_456, 1_700_000_000_123),
        (1_700_000_000_123_456_789, 1_700_000_000_123),
        ("2023-11-14T22:13:20.999999", 1_700_000_000_999), ("2023-11-15T05:13:20+07:00", 1_700_000_000_000),
    ],
)  # fmt: skip
def test_times_are_read_in_every_unit(written: Any, ms: int) -> None:
    assert read(ticker(event_time=written)).event_time == ms


@pytest.mark.parametrize(
    "change",
    [
        {"price": None}, {"price": "dear"}, {"price": True}, {"price": "nan"}, {"price": [1]}, {"price": 10**400},
        {"symbol": None}, {"symbol": 5}, {"symbol": "\ud800"}, {"event_time": "soon"}, {"event_time": -1},
        {"event_time": 1e300}, {"event_time": None, "timestamp": None}, {"volume": "much"}, {"high": "inf"},
        {"event_time": {}}, {"event_time": "1969-12-31T00:00:00Z"}, {"timestamp": "0001-01-01T00:00:00+23:59x"},
    ],
)  # fmt: skip
def test_what_is_no_ticker_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        read(ticker(**change))


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from(list(ticker())), _VALUES), st.none() | st.binary(max_size=12))
def test_nothing_but_bad_messages_escapes(changes: dict[str, Any], key: bytes | None) -> None:
    try:
        tick = decode_json(json.dumps(ticker(**changes)).encode(), key)
    except BadMessage:
        return
    assert tick.kind == "quote"
    assert 0 <= tick.event_time < 2**63
    tick.symbol.encode()
    assert Policy().judge(tick) in Verdict
