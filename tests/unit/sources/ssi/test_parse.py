from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.sources.contract import PartlyBad
from stockstream.sources.ssi.parse import parse

FRAMES = json.loads((Path(__file__).parents[3] / "data" / "ssi" / "frames.json").read_text())
TRADE, QUOTE = FRAMES["trade"]["Content"], FRAMES["quote"]["Content"]
RECEIVED_MS = 1_800_000_000_123


def text(content: object, kind: object = "X-TRADE") -> str:
    return json.dumps({"DataType": kind, "Content": json.dumps(content)})


def frame(*texts: object, method: str = "Broadcast") -> str:
    return json.dumps({"C": "d", "M": [{"H": "FcMarketDataV2Hub", "M": method, "A": [each]} for each in texts]})


def read(name: str) -> list[Tick]:
    return parse(frame(text(FRAMES[name]["Content"], FRAMES[name]["DataType"])), RECEIVED_MS)


def one(**fields: Any) -> Tick:
    (tick,) = parse(frame(text({**TRADE, **fields})), RECEIVED_MS)
    return tick


def test_the_documented_trade_in_dong_and_shares_at_its_time_in_utc() -> None:
    assert read("trade") == [
        Tick(
            "SSI:ACB",
            1_691_996_873_000,  # 2023-08-14 07:07:53 UTC
            22950.0,
            100.0,
            8_797_700,
            kind="trade",
            producer_timestamp=RECEIVED_MS,
            timestamp="1691996873000",
            exchange="HOSE",
            change_percent=0.22,
            change=50.0,
            source="ssi",
            sequence=8_797_700,
            currency="VND",
            conditions="LO,SD",
        )
    ]


def test_the_documented_quote_has_the_best_bid_and_ask_and_no_price() -> None:
    (tick,) = read("quote")
    assert (tick.kind, tick.symbol, tick.event_time, tick.price) == ("quote", "SSI:ACB", 1_691_996_428_000, 0.0)
    assert (tick.bid, tick.bid_size, tick.ask, tick.ask_size) == (22900.0, 290900.0, 22950.0, 109100.0)


def test_nobody_offers_at_a_price_of_0() -> None:
    (tick,) = parse(frame(text({**QUOTE, "BidPrice1": 0.0, "BidVol1": 500.0})), RECEIVED_MS)
    assert (tick.bid, tick.bid_size, tick.ask) == (None, None, 22950.0)


@pytest.mark.parametrize("name", ["init", "alive", "answer"])
def test_what_signalr_says_for_itself_is_nothing(name: str) -> None:
    assert parse(json.dumps(FRAMES[name]), RECEIVED_MS) == []


def test_other_channels_are_nothing() -> None:
    assert read("room") == []
    assert parse(frame(text(TRADE), method="Other"), RECEIVED_MS) == []


def test_before_the_first_trade_there_is_none() -> None:
    assert parse(frame(text({**TRADE, "LastPrice": 0.0, "LastVol": 0.0})), RECEIVED_MS) == []


def test_put_through_is_no_price_of_the_market() -> None:
    assert one(TradingSession="PT").kind == "quote"
    assert one(TradingSession="ATC").kind == "trade"


def test_derivatives_are_not_in_dong() -> None:
    tick = one(Symbol="VN30F2407", Exchange="DERIVATIVES", LastPrice=1283.9, Side=None)
    assert (tick.price, tick.currency, tick.conditions) == (1283.9, None, "LO")


def test_a_content_that_is_an_object_already_is_read_too() -> None:
    assert parse(frame({"DataType": "X-TRADE", "Content": TRADE}), RECEIVED_MS) == read("trade")


def test_without_a_volume_of_the_day_there_is_none() -> None:
    content = {name: value for name, value in TRADE.items() if name != "TotalVol"}
    (tick,) = parse(frame(text(content)), RECEIVED_MS)
    assert (tick.day_volume, tick.sequence, tick.last_size) == (-1, None, 100.0)


@pytest.mark.parametrize(
    "broken",
    [
        17,
        "no JSON",
        "[]",
        text(17),
        json.dumps({"DataType": "X-TRADE", "Content": "no JSON"}),
        text({**TRADE, "Symbol": "two words"}),
        text({**TRADE, "Symbol": None}),
        text({**TRADE, "LastPrice": "22950"}),
        text({**TRADE, "LastPrice": "NaN"}),
        text({**TRADE, "LastVol": float("nan")}),
        text({**TRADE, "TotalVol": -1.0}),
        text({**TRADE, "TotalVol": 1e300}),
        text({**TRADE, "Time": "25:00:00"}),
        text({**TRADE, "TradingDate": "2023-08-14"}),
        text({**TRADE, "TradingDate": "01/01/0001", "Time": "00:00:00"}),
        text({**TRADE, "TradingDate": None}),
        text({**TRADE, "Exchange": 1}),
        text({**TRADE, "Exchange": "\ud800"}),
        text({**TRADE, "Side": 1}),
        text({**TRADE, "Side": "\ud800"}),
        text({**TRADE, "Change": "x"}),
        text({**QUOTE, "BidVol1": None}),
    ],
)
def test_a_message_that_cannot_be_read_does_not_cost_the_others(broken: object) -> None:
    with pytest.raises(PartlyBad, match="1 of 3 messages") as error:
        parse(frame(text(TRADE), broken, text(QUOTE)), RECEIVED_MS)
    assert [tick.kind for tick in error.value.ticks] == ["trade", "quote"]


@pytest.mark.parametrize(
    "raw",
    ["", "no JSON", "[]", "null", b"\xff", "[" * 100_000, '{"M":17}', '{"M":[17]}', '{"M":[{"M":"Broadcast"}]}',
     '{"I":"0","E":"no such method"}', '{"M":[{"M":"Error","A":["quota"]}]}'],
)  # fmt: skip
def test_a_damaged_frame_is_a_bad_message(raw: str | bytes) -> None:
    with pytest.raises(BadMessage):
        parse(raw, RECEIVED_MS)


def is_fine(raw: str | bytes) -> None:
    try:
        ticks = parse(raw, RECEIVED_MS)
    except PartlyBad as error:
        ticks = error.ticks
    except BadMessage:
        return
    assert all(tick.kind in ("trade", "quote") and tick.symbol.startswith("SSI:") for tick in ticks)


@given(st.binary())
def test_any_bytes_are_ticks_or_a_bad_message(data: bytes) -> None:
    is_fine(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from([TRADE, QUOTE]), st.data())
def test_any_content_is_ticks_or_a_bad_message(good: dict[str, Any], data: st.DataObject) -> None:
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(good)), JSON, max_size=3))
    is_fine(frame(text({**good, **changed}), data.draw(JSON)))
    is_fine(json.dumps({"M": data.draw(JSON)}))


@given(st.data())
def test_a_frame_that_is_damaged_is_ticks_or_a_bad_message(data: st.DataObject) -> None:
    good = bytearray(frame(text(TRADE), text(QUOTE)).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    is_fine(bytes(good[: data.draw(st.integers(0, len(good)))]))
