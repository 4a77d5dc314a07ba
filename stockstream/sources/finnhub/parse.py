"""Finnhub's frames as ticks.

A frame is JSON: ``{"type": "trade", "data": [{"s", "p", "t", "v", "c"}, …]}`` with any number of trades of any symbols,
``{"type": "ping"}``, or ``{"type": "error", "msg": …}``. Prices and volumes are JSON numbers, times epoch ms.

Each trade of a frame stands for itself: Finnhub puts into one frame what came in the same moment, not what belongs
together. So one that cannot be read costs itself only, and the others are taken (`PartlyBad`).
"""

from __future__ import annotations

from stockstream.calendars import Calendar, Calendars
from stockstream.errors import BadMessage
from stockstream.models import Tick, is_symbol
from stockstream.sources.contract import Frame, PartlyBad, Refused
from stockstream.sources.reading import number, plain_text, read_json, shown

SOURCE, PREFIX = "finnhub", "FINNHUB:"
"""The name of the source, and what its symbols begin with here."""

_INVALID = "Invalid symbol "
_GREATEST_MS = 253_402_300_800_000  # year 10000


def parse(frame: Frame, received_ms: int) -> list[Tick]:
    """The trades of a frame in their order, and its price updates as quotes; none of a ping. Raises `BadMessage` only.

    An update has a volume of 0: nothing was traded. What Finnhub says is wrong is `Refused` with its words.
    """
    content = read_json(frame)
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "ping":
        return []
    if kind == "error":
        raise _refusal(content.get("msg"))
    if kind != "trade":
        raise BadMessage(f"neither trades nor a ping: {shown(frame)}")
    data = content.get("data")
    if not isinstance(data, list):
        raise BadMessage(f"trades that are no list: {shown(frame)}")
    ticks, bad = [], ""
    for trade in data:
        try:
            ticks.append(_tick(trade, received_ms))
        except BadMessage as error:
            bad = bad or str(error)
    if bad:
        raise PartlyBad(f"{len(data) - len(ticks)} of {len(data)} trades are none, the first: {bad}", ticks)
    return ticks


def _refusal(said: object) -> Refused:
    name = said.removeprefix(_INVALID) if isinstance(said, str) and said.startswith(_INVALID) else ""
    return Refused(f"Finnhub says: {shown(said)}", [PREFIX + name] if is_symbol(PREFIX + name) and name else [])


def calendar_of(calendars: Calendars, symbol: str) -> Calendar | None:
    """The calendar of a symbol: its own name says which exchange it is of."""
    return calendars.of_exchange(SOURCE, _exchange_of(symbol.removeprefix(PREFIX)))


def _exchange_of(name: str) -> str:
    exchange, colon, _ = name.partition(":")
    return exchange if colon else "US"


def _tick(trade: object, received_ms: int) -> Tick:
    if not isinstance(trade, dict):
        raise BadMessage(f"no JSON object: {shown(trade)}")
    name, time_ms, conditions = trade.get("s"), trade.get("t"), trade.get("c")
    if not isinstance(name, str) or not is_symbol(PREFIX + name):
        raise BadMessage(f"no usable symbol: {shown(name)}")
    if type(time_ms) is not int or not 0 < time_ms < _GREATEST_MS:
        raise BadMessage(f"no time in ms: {shown(time_ms)}")
    price, size = number(trade.get("p")), number(trade.get("v"))
    if not isinstance(conditions, list | None):
        raise BadMessage(f"no list of condition codes: {shown(conditions)}")
    exchange = _exchange_of(name)
    is_share = exchange == "US"
    return Tick(
        PREFIX + name,
        time_ms,
        price,
        size,
        kind="trade" if size else "quote",
        producer_timestamp=received_ms,
        timestamp=str(time_ms),
        exchange=exchange,
        source=SOURCE,
        currency="USD" if is_share else None,
        conditions=",".join(map(plain_text, conditions)) if conditions else None,
    )
