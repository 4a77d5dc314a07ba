"""Frames of venues, and what else they answer."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz.mutation import Corpus
from fuzz.target import Take, Target, accepted, of_both
from pydantic import SecretStr
from whole import OneSchema, run

from stockstream.codecs import Encoder, TickDecoder
from stockstream.errors import BadMessage
from stockstream.models import TICK_SCHEMA_V2, Tick
from stockstream.sources.binance import parse as binance
from stockstream.sources.binance.feed import BinanceFeed
from stockstream.sources.contract import Feed, PartlyBad
from stockstream.sources.finnhub.fake import RUBBISH as FINNHUB_RUBBISH
from stockstream.sources.finnhub.feed import FinnhubFeed
from stockstream.sources.sim.feed import SimFeed
from stockstream.sources.ssi.fake import HUB
from stockstream.sources.ssi.fake import RUBBISH as SSI_RUBBISH
from stockstream.sources.ssi.feed import SsiFeed, _end_s
from stockstream.sources.yahoo.feed import YahooFeed

DATA = Path(__file__).parents[1] / "data"
RECEIVED_MS = 1_763_000_000_000


def _payloads(file: str) -> dict[str, Any]:
    payloads: dict[str, Any] = json.loads((DATA / file).read_text())
    return payloads


def _compact(payload: object) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode()


def reader(feed: Callable[[], Feed], symbols: list[str]) -> Callable[[Path], Take]:
    """Takes frames of a feed that has subscribed ``symbols``; each tick of them must be read back as it was written."""

    def opened(_folder: Path) -> Take:
        parse, check = _subscribed(feed(), symbols).parse, written()

        def take(frame: bytes) -> int:
            try:
                ticks = parse(frame, RECEIVED_MS)
            except PartlyBad as error:
                ticks = error.ticks
            for tick in ticks:
                check(tick)
            return len(ticks)

        return take

    return opened


def written() -> Callable[[Tick], None]:
    """A check that a tick can be written for Kafka, and is read there as what it was."""
    encode, decoder = Encoder(TICK_SCHEMA_V2, 1), TickDecoder(OneSchema(TICK_SCHEMA_V2))
    run(decoder.prepare([b"\0\0\0\0\1"]))

    def check(tick: Tick) -> None:
        with accepted():
            of_both(decoder.decode(tick.symbol.encode(), encode(tick)), tick, "what is read of what was written")

    return check


def _subscribed(feed: Feed, symbols: list[str]) -> Feed:
    feed.subscribe(symbols, RECEIVED_MS)
    return feed


def _yahoo() -> list[Corpus]:
    payloads = list(_payloads("yahoo/frames.json").values())
    pricings = [b64decode(payload["message"]) for payload in payloads]
    frames = [*map(_compact, payloads), b"{}", b'{"type":"pricing","message":""}', b'{"type":"error","message":"no"}']
    return [
        Corpus(pricings, lambda pricing: b'{"type":"pricing","message":"' + b64encode(pricing) + b'"}'),
        Corpus(pricings, lambda pricing: b'{"message": "' + b64encode(pricing) + b'"}'),
        Corpus(frames, is_text=True),
    ]


def _finnhub() -> list[Corpus]:
    return [
        Corpus(
            [*map(_compact, _payloads("finnhub/frames.json").values()), *map(str.encode, FINNHUB_RUBBISH)], is_text=True
        )
    ]


def _binance() -> list[Corpus]:
    payloads = _payloads("binance/payloads.json")
    names = [name for name, payload in payloads.items() if isinstance(payload, dict)]
    return [
        Corpus([_compact(payloads[name]) for name in ("trade", "trade_with_orders")]),
        Corpus([_compact(payloads[name]) for name in names], is_text=True),
    ]


def _ssi() -> list[Corpus]:
    payloads = _payloads("ssi/frames.json")
    told = [_compact(payload) for payload in payloads.values() if "DataType" in payload]
    contents = [_compact(payload["Content"]) for payload in payloads.values() if "DataType" in payload]

    def broadcast(text: bytes) -> bytes:
        return _compact({"M": [{"H": HUB, "M": "Broadcast", "A": [text.decode(errors="surrogateescape")]}]})

    def content(text: bytes) -> bytes:
        return broadcast(_compact({"DataType": "X-TRADE", "Content": text.decode(errors="surrogateescape")}))

    frames = [*map(_compact, payloads.values()), *map(str.encode, SSI_RUBBISH), *map(broadcast, told)]
    return [
        Corpus(frames, is_text=True),
        Corpus(told, broadcast, is_text=True),
        Corpus(contents, content, is_text=True),
    ]


def _sim() -> list[Corpus]:
    trades = [["SIM:AAPL", 17, RECEIVED_MS, 189.5, 100.0], ["SIM:BTC", 2**40, RECEIVED_MS, 1e5, 0.00000001]]
    return [Corpus([_compact(trades), _compact(trades[:1]), b"[]"], is_text=True)]


def _rows() -> list[Corpus]:
    payloads = _payloads("binance/payloads.json")
    names = ("ticker_24hr", "historical_trades", "agg_trades", "klines")
    rows = [row for name in names for row in (payloads[name] if name != "ticker_24hr" else [payloads[name]])]
    return [Corpus([_compact(row) for row in rows], is_text=True)]


def _open_rows(_folder: Path) -> Take:
    check = written()

    def take(data: bytes) -> int:
        try:
            row = json.loads(data)
        except (ValueError, RecursionError):
            return False  # RestClient tells that apart
        count = 0
        for read in (
            lambda: check(binance.past_trade("BINANCE:BTCUSDT", row)),
            lambda: binance.first_trade_id(row),
            lambda: binance.venue_candle("1m", row),
            lambda: check(binance.ticker_quote(row, RECEIVED_MS)),
        ):
            try:
                read()
                count += 1
            except BadMessage:
                pass
        return count

    return take


def _tokens() -> list[Corpus]:
    def token(payload: bytes) -> bytes:
        return b"e30." + urlsafe_b64encode(payload).rstrip(b"=") + b".c2ln"

    payloads = [_compact({"exp": 1_763_000_000, "sub": "1"}), _compact({"exp": 1.5})]
    return [Corpus(payloads, token, is_text=True), Corpus([token(payload) for payload in payloads])]


def _open_token(_folder: Path) -> Take:
    return lambda data: _end_s(data.decode("utf-8", "surrogateescape")) > 0


_NAMES = ["TSLA", "AAPL", "BTC-USD", "FINNHUB:AAPL", "FINNHUB:BINANCE:BTCUSDT", "BINANCE:BNBBTC", "SSI:ACB", "SIM:BTC"]

TARGETS = [
    Target("yahoo", "frames of Yahoo", _yahoo, reader(YahooFeed, _NAMES), (BadMessage,)),
    Target(
        "finnhub",
        "frames of Finnhub",
        _finnhub,
        reader(lambda: FinnhubFeed(finnhub_api_token=SecretStr("the-token")), _NAMES),
        (BadMessage,),
    ),
    Target("binance", "frames of Binance", _binance, reader(BinanceFeed, _NAMES), (BadMessage,)),
    Target("ssi", "frames of SSI", _ssi, reader(SsiFeed, _NAMES), (BadMessage,)),
    Target("sim", "frames of the simulated market", _sim, reader(SimFeed, _NAMES), (BadMessage,)),
    Target("binance-rows", "rows of Binance's answers to REST requests", _rows, _open_rows),
    Target("ssi-token", "when an access token of SSI ends", _tokens, _open_token),
]
