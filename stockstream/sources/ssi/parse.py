"""The hub's frames as ticks.

A frame is JSON of the protocol of ASP.NET SignalR: ``{"M": [{"H": hub, "M": "Broadcast", "A": [text]}, …]}`` with any
number of messages, ``{}`` to keep the connection alive, ``{"I": …}`` as the answer to a command. Each text is JSON
again, ``{"DataType", "Content"}``, and so is the content.

Prices are in VND as they are traded (points, for derivatives), volumes in shares, times local to Vietnam in whole
seconds. A message that cannot be read costs itself only, as each stands for itself (`PartlyBad`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from stockstream.errors import BadMessage
from stockstream.models import Tick, is_symbol
from stockstream.sources.contract import Frame, PartlyBad, Refused
from stockstream.sources.reading import number, plain_text, read_json, shown

SOURCE, PREFIX = "ssi", "SSI:"
"""The name of the source, and what its symbols begin with here."""
TRADES, QUOTES = "X-TRADE", "X-QUOTE"
"""The channels that are read."""

_PUT_THROUGH = "PT"
_DERIVATIVES = "DERIVATIVES"
_AHEAD_OF_UTC = timedelta(hours=7)
_GREATEST_VOLUME = 2**62


def parse(frame: Frame, received_ms: int) -> list[Tick]:
    """The trades and quotes of a frame in their order; raises `BadMessage` only.

    A quote has no price of its own: it is 0. ``day_volume`` and ``sequence`` are the volume traded since the morning,
    this trade included, -1 and None where it is not given. ``conditions`` are the session (``ATO``, ``LO``, ``ATC``, …)
    and whether the buyer (``BU``) or the seller (``SD``) took the other's offer. What is told during put-through is no
    price of the market, and so a quote.
    """
    content = read_json(frame)
    if not isinstance(content, dict):
        raise BadMessage(f"no JSON object: {shown(frame)}")
    if content.get("E"):
        raise Refused(f"SSI says: {shown(content['E'])}")
    messages = content.get("M", [])
    if not isinstance(messages, list):
        raise BadMessage(f"messages that are no list: {shown(frame)}")
    ticks: list[Tick] = []
    bad: list[BadMessage] = []
    for message in messages:
        try:
            ticks += _ticks(message, received_ms)
        except BadMessage as error:
            bad.append(error)
    if bad:
        raise PartlyBad(f"{len(bad)} of {len(messages)} messages are no use, the first: {bad[0]}", ticks)
    return ticks


def _ticks(message: object, received_ms: int) -> Iterator[Tick]:
    if not isinstance(message, dict) or not isinstance(message.get("A"), list):
        raise BadMessage(f"no message of a hub: {shown(message)}")
    if message.get("M") == "Error":
        raise BadMessage(f"SSI says: {shown(message['A'])}")
    if message.get("M") != "Broadcast":
        return
    for text in message["A"]:
        outer = _object(text)
        inner = _object(outer.get("Content"))
        kind = inner.get("RType") or outer.get("DataType")
        if kind == TRADES:
            yield from _trade(inner, received_ms)
        elif kind == QUOTES:
            yield _quote(inner, received_ms)


def _object(text: object) -> dict[str, Any]:
    content = read_json(text) if isinstance(text, str) else text
    if not isinstance(content, dict):
        raise BadMessage(f"no JSON object: {shown(text)}")
    return content


def _trade(content: dict[str, Any], received_ms: int) -> Iterator[Tick]:
    price, size = number(content.get("LastPrice")), number(content.get("LastVol"))
    if not price or not size:
        return  # before the first trade of a day
    tick = _tick(content, received_ms)
    tick.price, tick.last_size = price, size
    if "TotalVol" in content:
        total = number(content["TotalVol"])
        if not 0 <= total < _GREATEST_VOLUME:
            raise BadMessage(f"no volume of a day: {shown(content['TotalVol'])}")
        tick.day_volume = tick.sequence = int(total)
    tick.change, tick.change_percent = number(content.get("Change", 0)), number(content.get("RatioChange", 0))
    if content.get("TradingSession") != _PUT_THROUGH:
        tick.kind = "trade"
    yield tick


def _quote(content: dict[str, Any], received_ms: int) -> Tick:
    tick = _tick(content, received_ms)
    # 0 where nobody offers, or at any price.
    if bid := number(content.get("BidPrice1")):
        tick.bid, tick.bid_size = bid, number(content.get("BidVol1"))
    if ask := number(content.get("AskPrice1")):
        tick.ask, tick.ask_size = ask, number(content.get("AskVol1"))
    return tick


def _tick(content: dict[str, Any], received_ms: int) -> Tick:
    name, exchange = content.get("Symbol"), plain_text(content.get("Exchange"))
    if not isinstance(name, str) or not is_symbol(PREFIX + name):
        raise BadMessage(f"no usable symbol: {shown(name)}")
    time_ms = _time_ms(content)
    marks = [plain_text(mark) for mark in (content.get("TradingSession"), content.get("Side")) if mark]
    return Tick(
        PREFIX + name,
        time_ms,
        kind="quote",
        producer_timestamp=received_ms,
        timestamp=str(time_ms),
        exchange=exchange,
        source=SOURCE,
        currency=None if exchange == _DERIVATIVES else "VND",
        conditions=",".join(marks) or None,
    )


def _time_ms(content: dict[str, Any]) -> int:
    local = f"{content.get('TradingDate')} {content.get('Time')}"
    try:
        there = datetime.strptime(local, "%d/%m/%Y %H:%M:%S").replace(tzinfo=UTC)
        return int((there - _AHEAD_OF_UTC).timestamp()) * 1000
    except (ValueError, OverflowError) as error:
        raise BadMessage(f"no date and time: {shown(local)}") from error
