from __future__ import annotations

import json

import pytest
from pydantic import SecretStr
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from stockstream.errors import BadMessage, SettingsError
from stockstream.sources.contract import NotAdmitted, PartlyBad, Refused
from stockstream.sources.finnhub.feed import URL, FinnhubFeed

KEY = "kEy+with/odd=signs"
SYMBOLS = ["FINNHUB:AAPL", "FINNHUB:BINANCE:BTCUSDT"]


def feed(key: str | None = KEY, url: str = URL) -> FinnhubFeed:
    return FinnhubFeed(url, finnhub_api_token=None if key is None else SecretStr(key))


def refusal(status: int) -> InvalidStatus:
    return InvalidStatus(Response(status, "", Headers()))


def test_a_command_names_one_symbol_in_finnhubs_way() -> None:
    assert [json.loads(text) for text in feed().subscribe(SYMBOLS, 0)] == [
        {"type": "subscribe", "symbol": "AAPL"},
        {"type": "subscribe", "symbol": "BINANCE:BTCUSDT"},
    ]
    assert [json.loads(text) for text in feed().unsubscribe(SYMBOLS[1:])] == [
        {"type": "unsubscribe", "symbol": "BINANCE:BTCUSDT"}
    ]


async def test_the_key_is_in_the_address_to_connect_to_and_nowhere_else() -> None:
    place = await feed(f"{KEY}\n").locate()
    assert place.url == "wss://ws.finnhub.io?token=kEy%2Bwith%2Fodd%3Dsigns"
    assert "kEy" not in repr(place)
    assert "kEy" not in repr(vars(feed()))
    assert feed().url == URL
    assert (await feed(url="ws://127.0.0.1:1/?a=b").locate()).url.startswith("ws://127.0.0.1:1/?a=b&token=kEy")


@pytest.mark.parametrize("key", [None, "", " \n"])
async def test_without_a_key_one_line_says_where_to_get_and_to_put_it(key: str | None) -> None:
    lack = feed(key).lacks()
    assert lack is not None
    assert "https://finnhub.io" in lack
    assert "FINNHUB_API_TOKEN_FILE" in lack
    with pytest.raises(NotAdmitted) as error:
        await feed(key).locate()
    assert error.value.fatal == lack
    assert feed().lacks() is None


def test_a_key_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="FINNHUB_API_TOKEN") as error:
        feed(url="wss://ws.finnhub.io/?token=kEy")
    assert "kEy" not in str(error.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_for_a_human_to_mend(status: int) -> None:
    told = feed().fatal(refusal(status))
    assert told is not None
    assert "API key" in told
    assert "FINNHUB_API_TOKEN" in told


@pytest.mark.parametrize("error", [refusal(429), refusal(500), refusal(503), refusal(200), OSError("no way")])
def test_other_refusals_pass(error: Exception) -> None:
    assert feed().fatal(error) is None


def test_a_wrong_address_is_named() -> None:
    assert URL in str(feed().fatal(refusal(404)))


def test_the_plan_decides_how_many_symbols_there_may_be() -> None:
    assert FinnhubFeed.capabilities.symbols_per_connection == 50
    assert FinnhubFeed(finnhub_symbols=250).capabilities.symbols_per_connection == 250
    assert FinnhubFeed.capabilities.connections == 1


def test_frames_come_at_any_hour() -> None:
    sunday_night_ms = 1_700_352_000_000
    assert feed().is_open(sunday_night_ms)


def test_an_error_that_repeats_the_key_does_not_show_it() -> None:
    for text in (
        f'{{"type":"error","msg":"Invalid API key {KEY}"}}',
        '{"msg":"' + "x" * 70 + KEY + '","type":"error"}',
    ):
        for frame in (text, text.encode()):
            with pytest.raises(BadMessage) as error:
                feed().parse(frame, 1)
            assert "kEy" not in str(error.value)
    with pytest.raises(Refused) as refused:
        feed("kEy").parse('{"type":"error","msg":"Invalid symbol kEy"}', 1)
    assert (refused.value.symbols, "kEy" in str(refused.value)) == ([], False)
    escaped = json.dumps({"type": "error", "msg": KEY}).replace("k", "\\u006b")
    with pytest.raises(BadMessage) as error:
        feed().parse(escaped, 1)
    assert "kEy" not in str(error.value)


def test_the_good_trades_of_a_partly_bad_frame_are_kept() -> None:
    good = {"s": "AAPL", "p": 1.5, "t": 1_700_000_000_000, "v": 10}
    with pytest.raises(PartlyBad) as error:
        feed().parse(json.dumps({"type": "trade", "data": [good, {"s": KEY}, good]}), 1)
    assert len(error.value.ticks) == 2
    assert "kEy" not in str(error.value)
