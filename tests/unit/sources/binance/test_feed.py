from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from stockstream.sources.binance.feed import BinanceFeed
from stockstream.sources.contract import Confirmed, Ending, Refused

PAYLOADS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "data" / "binance" / "payloads.json").read_text(encoding="utf-8")
)
SYMBOLS = [f"BINANCE:S{number}USDT" for number in range(1024)]


def said(feed: BinanceFeed, payload: object) -> Any:
    return feed.parse(json.dumps(payload).encode(), 0)


def test_commands_are_batched_and_few() -> None:
    frames = [json.loads(frame) for frame in BinanceFeed().subscribe(SYMBOLS, 0)]
    assert len(frames) == 6
    assert [frame["method"] for frame in frames] == ["SUBSCRIBE"] * 6
    assert [frame["id"] for frame in frames] == [1, 2, 3, 4, 5, 6]
    streams = [stream for frame in frames for stream in frame["params"]]
    assert streams == [f"s{number}usdt@trade" for number in range(1024)]


def test_an_answer_confirms_the_symbols_of_its_command_once() -> None:
    feed = BinanceFeed()
    feed.subscribe(SYMBOLS[:2], 0)
    feed.subscribe(SYMBOLS[2:3], 0)
    feed.unsubscribe(SYMBOLS[:1])
    for number, symbols in ((2, SYMBOLS[2:3]), (1, SYMBOLS[:2]), (1, []), (3, [])):
        with pytest.raises(Confirmed) as confirmed:
            said(feed, {"result": None, "id": number})
        assert list(confirmed.value.symbols) == symbols


@pytest.mark.parametrize("name", ["no_method", "no_json", "unknown_property", "too_many"])
def test_what_binance_refuses_is_told_in_its_words(name: str) -> None:
    feed = BinanceFeed()
    feed.subscribe(SYMBOLS[:2], 0)
    payload = PAYLOADS["errors"][name]
    problem = payload.get("error", payload)
    with pytest.raises(Refused) as refused:
        said(feed, payload)
    assert str(refused.value) == f"{problem['msg']} (code {problem['code']})"
    assert list(refused.value.symbols) == (SYMBOLS[:2] if "id" in payload else [])


def test_a_shutdown_is_announced() -> None:
    with pytest.raises(Ending):
        said(BinanceFeed(), PAYLOADS["server_shutdown"])
    with pytest.raises(Ending):
        said(BinanceFeed(), PAYLOADS["server_shutdown"]["data"])


def test_commands_that_are_never_answered_are_not_kept_for_ever() -> None:
    feed = BinanceFeed()
    for _ in range(5000):
        feed.subscribe(SYMBOLS[:1], 0)
    assert len(feed._pending) <= 1000


@pytest.mark.parametrize(
    ("status", "words"), [(418, "banned"), (403, "firewall"), (404, "see the address"), (429, None), (503, None)]
)
def test_what_only_a_human_can_mend_is_fatal(status: int, words: str | None) -> None:
    reason = BinanceFeed().fatal(InvalidStatus(Response(status, "", Headers())))
    assert reason is None if words is None else words in (reason or "")
    assert BinanceFeed().fatal(OSError()) is None
