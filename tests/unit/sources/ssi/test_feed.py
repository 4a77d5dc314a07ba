from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from stockstream.sources.contract import NotAdmitted, PartlyBad
from stockstream.sources.ssi.fake import FakeSsi
from stockstream.sources.ssi.feed import SsiFeed, _end_s

FRAMES = json.loads((Path(__file__).parents[3] / "data" / "ssi" / "frames.json").read_text())
TRADE, QUOTE = FRAMES["trade"]["Content"], FRAMES["quote"]["Content"]


def in_vietnam(text: str) -> int:
    """A local time as epoch ms."""
    return int(datetime.fromisoformat(f"{text}+07:00").timestamp() * 1000)


def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture
async def fake() -> AsyncIterator[FakeSsi]:
    async with FakeSsi(["VCB", "FPT"], now_ms, frame_every_s=0) as fake:
        yield fake


def feed(fake: FakeSsi, secret: str | None = None, **options: Any) -> SsiFeed:
    consumer_id, its_secret = fake.consumer
    consumer = {"ssi_consumer_id": SecretStr(consumer_id), "ssi_consumer_secret": SecretStr(secret or its_secret)}
    return SsiFeed(fake.url, ssi_api_url=fake.url, **{**consumer, **options})


def frame(*contents: object) -> str:
    texts = [json.dumps({"DataType": "X", "Content": json.dumps(content)}) for content in contents]
    return json.dumps({"M": [{"M": "Broadcast", "A": [text]} for text in texts]})


async def test_where_to_connect_is_negotiated_with_a_token(fake: FakeSsi) -> None:
    place = await feed(fake).locate()
    parts = urlsplit(place.url)
    assert (parts.scheme, parts.netloc, parts.path) == ("ws", f"127.0.0.1:{fake.port}", "/v2.0/signalr/connect")
    query = parse_qs(parts.query)
    assert query["transport"] == ["webSockets"]
    assert query["connectionToken"][0].startswith("connection/")
    assert json.loads(query["connectionData"][0]) == [{"name": "FcMarketDataV2Hub"}]
    assert place.headers["Authorization"].startswith("Bearer ")
    assert place.headers["Authorization"].removeprefix("Bearer ") not in repr(place)


async def test_a_token_serves_until_an_hour_before_its_end(fake: FakeSsi) -> None:
    now = [time.time()]
    with_clock = feed(fake, now_s=lambda: now[0])
    await with_clock.locate()
    now[0] += fake.token_lasts_s - 3700
    await with_clock.locate()
    assert fake.tokens_given == 1
    now[0] += 200
    await with_clock.locate()
    assert fake.tokens_given == 2


async def test_a_token_that_ends_before_its_time_is_asked_for_anew(fake: FakeSsi) -> None:
    asked = feed(fake)
    await asked.locate()
    fake.end_tokens()
    assert "connect" in (await asked.locate()).url
    assert fake.tokens_given == 2


async def test_a_hub_that_does_not_take_the_token_gets_another(fake: FakeSsi) -> None:
    asked = feed(fake)
    await asked.locate()
    assert asked.fatal(InvalidStatus(Response(401, "", Headers()))) is None
    await asked.locate()
    assert fake.tokens_given == 2


async def test_a_wrong_key_is_for_a_human_to_mend(fake: FakeSsi) -> None:
    with pytest.raises(NotAdmitted) as error:
        await feed(fake, "wr0ng").locate()
    assert error.value.cause == "key refused"
    assert "Wrong consumerID" in str(error.value.fatal)
    assert "SSI_CONSUMER_SECRET" in str(error.value.fatal)
    assert "wr0ng" not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("missing", ["ssi_consumer_id", "ssi_consumer_secret"])
async def test_without_a_key_one_line_says_where_to_get_and_to_put_it(fake: FakeSsi, missing: str) -> None:
    lack = feed(fake, **{missing: None}).lacks()
    assert lack is not None
    assert "https://iboard.ssi.com.vn" in lack
    assert "SSI_CONSUMER_ID_FILE" in lack
    with pytest.raises(NotAdmitted, match="FastConnect"):
        await feed(fake, **{missing: SecretStr("")}).locate()
    assert feed(fake).lacks() is None


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_other_refusals_pass(fake: FakeSsi, status: int) -> None:
    fake.refuse(status)
    with pytest.raises(NotAdmitted) as error:
        await feed(fake).locate()
    assert (error.value.cause, error.value.fatal) == (f"refused with HTTP {status}", None)


async def test_a_server_that_is_away_passes(fake: FakeSsi) -> None:
    asked = feed(fake)
    await fake.stop()
    with pytest.raises(NotAdmitted) as error:
        await asked.locate()
    assert (error.value.cause, error.value.fatal) == ("refused", None)


def test_a_channel_is_switched_to_all_symbols_each_time() -> None:
    wanted = SsiFeed()
    assert [json.loads(text) for text in wanted.subscribe(["SSI:VCB", "SSI:FPT"], 0)] == [
        {"H": "FcMarketDataV2Hub", "M": "SwitchChannels", "A": ["X-TRADE:VCB-FPT"], "I": 0},
        {"H": "FcMarketDataV2Hub", "M": "SwitchChannels", "A": ["X-QUOTE:VCB-FPT"], "I": 1},
    ]
    assert [json.loads(text)["A"] for text in wanted.subscribe(["SSI:HPG"], 0)] == [
        ["X-TRADE:VCB-FPT-HPG"],
        ["X-QUOTE:VCB-FPT-HPG"],
    ]
    assert [json.loads(text)["A"] for text in wanted.unsubscribe(["SSI:VCB", "SSI:HPG"])] == [
        ["X-TRADE:FPT"],
        ["X-QUOTE:FPT"],
    ]
    assert wanted.unsubscribe(["SSI:FPT"]) == []


def test_a_quote_has_the_price_of_the_last_trade() -> None:
    heard = SsiFeed()
    assert heard.parse(frame(QUOTE), 1) == []
    trade, quote = heard.parse(frame(TRADE, QUOTE), 1)
    assert (quote.kind, quote.price, quote.bid) == ("quote", 22950.0, 22900.0)
    assert (quote.sequence, quote.day_volume, quote.last_size) == (trade.sequence, 8_797_700, 0.0)


def test_a_trade_that_is_told_again_does_not_count_again() -> None:
    heard = SsiFeed()
    assert len(heard.parse(frame(TRADE, TRADE), 1)) == 1
    assert heard.parse(frame(TRADE), 2) == []
    later = {**TRADE, "TotalVol": TRADE["TotalVol"] + 100}
    assert len(heard.parse(frame(later), 3)) == 1


def test_the_last_trade_before_the_first_subscription_is_a_quote() -> None:
    heard = SsiFeed()
    [traded] = SsiFeed().parse(frame(TRADE), 1)
    heard.subscribe([traded.symbol], traded.event_time + 1000)
    heard.subscribe([traded.symbol], traded.event_time + 60_000)
    later = {**TRADE, "TotalVol": TRADE["TotalVol"] + 100}
    assert [tick.kind for tick in heard.parse(frame(TRADE, TRADE, later), 1)] == ["quote", "trade"]


def test_what_was_missed_after_the_first_subscription_is_a_trade() -> None:
    heard = SsiFeed()
    [traded] = SsiFeed().parse(frame(TRADE), 1)
    heard.subscribe([traded.symbol], traded.event_time + 999)
    heard.subscribe([traded.symbol], traded.event_time + 60_000)
    assert [tick.kind for tick in heard.parse(frame(TRADE), 1)] == ["trade"]


def test_the_good_messages_of_a_partly_bad_frame_are_kept() -> None:
    heard = SsiFeed()
    with pytest.raises(PartlyBad) as error:
        heard.parse(frame(TRADE, {**TRADE, "LastPrice": None}, QUOTE, TRADE), 1)
    assert [(tick.kind, tick.price) for tick in error.value.ticks] == [("trade", 22950.0), ("quote", 22950.0)]


@pytest.mark.parametrize(
    ("time_in_vietnam", "is_open"),
    [
        ("2026-11-27T08:50", False),
        ("2026-11-27T09:00", True),
        ("2026-11-27T11:29", True),
        ("2026-11-27T11:30", False),
        ("2026-11-27T12:59", False),
        ("2026-11-27T13:00", True),
        ("2026-11-27T14:44", True),
        ("2026-11-27T14:45", False),
        ("2026-11-27T14:50", False),
        ("2026-11-28T10:00", False),
        ("2026-11-29T10:00", False),
        ("2026-11-30T10:00", True),
        ("2026-01-02T10:00", False),
        ("2026-02-17T10:00", False),
        ("2026-02-23T10:00", True),
        ("2026-09-02T10:00", False),
    ],
)
def test_the_lunch_break_and_a_holiday_are_no_silence(time_in_vietnam: str, is_open: bool) -> None:
    assert SsiFeed().is_open(in_vietnam(time_in_vietnam)) is is_open


@pytest.mark.parametrize(
    ("exchange", "opens", "closes"),
    [
        ("HOSE", "2026-11-27T09:00", "2026-11-27T14:45"),
        ("HNX", "2026-11-27T09:00", "2026-11-27T15:00"),
        ("UPCOM", "2026-11-27T09:00", "2026-11-27T15:00"),
        ("DERIVATIVES", "2026-11-27T08:45", "2026-11-27T14:45"),
    ],
)
def test_hours_are_those_of_the_exchanges_that_have_been_heard(exchange: str, opens: str, closes: str) -> None:
    heard = SsiFeed()
    [traded] = heard.parse(frame({**TRADE, "Exchange": exchange}), 1)
    heard.subscribe([traded.symbol], 0)
    opens_ms, closes_ms = in_vietnam(opens), in_vietnam(closes)
    times_ms = (opens_ms - 1, opens_ms, closes_ms - 1, closes_ms)
    assert [heard.is_open(time_ms) for time_ms in times_ms] == [False, True, True, False]
    heard.subscribe(["SSI:UNHEARD"], 0)
    assert heard.is_open(in_vietnam("2026-11-27T09:00"))
    heard.unsubscribe([traded.symbol])
    assert not heard.is_open(in_vietnam("2026-11-27T08:50"))
    assert not heard.is_open(in_vietnam("2026-11-27T14:50"))


def test_an_exchange_that_nobody_knows_is_never_suspicious() -> None:
    heard = SsiFeed()
    heard.subscribe(["SSI:ACB"], 0)
    assert heard.is_open(in_vietnam("2026-11-27T10:00"))
    heard.parse(frame({**TRADE, "Exchange": "BOND"}), 1)
    assert not heard.is_open(in_vietnam("2026-11-27T10:00"))


@pytest.mark.parametrize("payload", [b"{}", b"[1]", b'{"exp":' + b"[" * 3000, b"\xff"])
def test_a_token_that_does_not_say_when_it_ends_is_asked_for_anew_each_time(payload: bytes) -> None:
    assert _end_s(f"e30.{urlsafe_b64encode(payload).decode()}.c2ln") == 0.0
