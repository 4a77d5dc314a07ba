from __future__ import annotations

import json
from typing import Any

import pytest

from stockstream.codecs.plain_json import decode_json
from stockstream.errors import BadMessage
from stockstream.models import Tick

GOOD: dict[str, Any] = {"symbol": "AAPL", "price": 189.37, "event_time": 1_700_000_000_000}


def test_absent_fields_take_the_schemas_defaults_and_unknown_ones_are_ignored() -> None:
    tick = decode_json(json.dumps({**GOOD, "price": 189, "colour": "red"}).encode())
    assert tick == Tick("AAPL", 1_700_000_000_000, 189.0, kind="snapshot")
    assert type(tick.price) is float


def test_every_field_is_read() -> None:
    record = {**GOOD, "kind": "trade", "trade_id": 9, "last_size": 2.5, "bid": 1.0, "sequence": None, "cause": "é"}
    tick = decode_json(json.dumps(record, ensure_ascii=False).encode())
    assert (tick.kind, tick.trade_id, tick.last_size, tick.bid, tick.sequence, tick.cause) == (
        "trade", 9, 2.5, 1.0, None, "é",
    )  # fmt: skip


def test_without_an_event_time_it_is_version_1() -> None:
    tick = decode_json(b'{"symbol": "AAPL", "price": 1.5, "timestamp": "1700000000000", "day_volume": 0}')
    assert (tick.event_time, tick.kind, tick.day_volume) == (1_700_000_000_000, "snapshot", -1)


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": 5}, {"symbol": "\ud800"}, {"price": "1.5"}, {"price": True}, {"price": None}, {"price": 10**400},
        {"event_time": 1.5}, {"event_time": 2**63}, {"event_time": "1700000000000"}, {"quote_type": 2**31},
        {"kind": "rumour"}, {"kind": []}, {"bid": "x"}, {"sequence": 1.5}, {"price": float("nan")},
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        decode_json(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize(
    "text",
    [b"{", b"{}", b"[]", b'{"symbol": "A"}', b'{"price": 1}', b'{"symbol": "A", "price": 1}', b"\xff", b"{" * 100_000],
)
def test_what_is_no_tick_is_refused(text: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_json(text)
