"""Yahoo's frames as ticks.

A frame is JSON, ``{"type": "pricing", "message": "<base64 of one PricingData>"}``. Its floats are 32 bits wide: they
are read as the shortest decimal that names the same float, which is what Yahoo displays. A zero is not told from an
absent field on the wire. The times are whole seconds, in epoch ms.
"""

from __future__ import annotations

import binascii
from array import array
from bisect import bisect_right
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # its stubs are a package apart

from stockstream.errors import BadMessage
from stockstream.models import Tick, is_symbol
from stockstream.sources.contract import Frame
from stockstream.sources.reading import read_json, shown
from stockstream.sources.yahoo.pricing import PricingData

CRYPTOCURRENCY, HEARTBEAT = 41, 7
"""Values of ``quote_type``, an open set."""

# How every frame looked that was seen: taken apart without reading it as JSON, base64 being checked anyway.
_BEFORE, _AFTER = b'{"type":"pricing","message":"', b'"}'
_CRYPTO_EXCHANGE = "CCC"
_CELL = array("f", [0.0])  # what is put in here comes out as a float32
# From _LEAST on, a float32 times a scale of up to 9 digits is exact as a double, so it is rounded as decimals are.
_LEAST, _TOO_GREAT = 1e-3, 1e7
_TENS = [10.0**power for power in range(-3, 7)]
_EIGHT_DIGITS = [10.0 ** (7 - power) for power in range(-4, 7)]
_MOST_REMEMBERED = 20_000
_usable: set[str] = set()


def parse(frame: Frame, received_ms: int) -> Tick | None:
    """The snapshot of a frame, None if it carries none (heartbeats, ``{}``); raises `BadMessage` only.

    ``day_volume`` is -1 where Yahoo sent none and for cryptocurrencies, whose volumes (and ``last_size``) are those of
    the last 24 hours: they go to ``volume_24h``.
    """
    message = _message(frame)
    if message is None:
        return None
    try:
        pricing = PricingData.FromString(binascii.a2b_base64(message, strict_mode=True))
    except (ValueError, DecodeError) as error:
        raise BadMessage(f"no base64 of a PricingData: {shown(message)} ({error})") from error
    if pricing.quote_type == HEARTBEAT:
        return None
    symbol = pricing.id
    if symbol not in _usable:
        _learn(symbol)
    return _tick(pricing, symbol, received_ms)


def _learn(symbol: str) -> None:
    if not is_symbol(symbol):
        raise BadMessage(f"a PricingData without a usable symbol: {shown(symbol)}")
    if len(_usable) >= _MOST_REMEMBERED:
        _usable.clear()
    _usable.add(symbol)


def _message(frame: Frame) -> str | bytes | None:
    if isinstance(frame, bytes) and frame.startswith(_BEFORE) and frame.endswith(_AFTER):
        return frame[len(_BEFORE) : -len(_AFTER)] or None
    content = read_json(frame)
    if not isinstance(content, dict):
        raise BadMessage(f"no JSON object: {shown(frame)}")
    message = content.get("message")
    if not message:
        return None
    if not isinstance(message, str):
        raise BadMessage(f"a message that is no text: {shown(frame)}")
    return message


def _tick(pricing: Any, symbol: str, received_ms: int) -> Tick:
    is_crypto = pricing.quote_type == CRYPTOCURRENCY or pricing.exchange == _CRYPTO_EXCHANGE
    time_ms, volume = pricing.time, pricing.day_volume
    tick = Tick(
        symbol,
        time_ms,
        _decimal(pricing.price),
        0.0 if is_crypto else float(max(pricing.last_size, 0)),
        -1 if is_crypto or volume <= 0 else volume,
        -1,
        "snapshot",
        received_ms,
        str(time_ms),
        pricing.exchange,
        pricing.quote_type,
        pricing.market_hours,
        _decimal(pricing.change_percent),
        _decimal(pricing.change),
        str(pricing.price_hint),
    )
    if currency := pricing.currency:
        tick.currency = currency
    if is_crypto and (volume := pricing.vol_24hr or volume) > 0:
        tick.volume_24h = float(volume)
    if bid := pricing.bid:
        tick.bid, tick.bid_size = _decimal(bid), float(pricing.bid_size)
    if ask := pricing.ask:
        tick.ask, tick.ask_size = _decimal(ask), float(pricing.ask_size)
    return tick


def _decimal(wide: float) -> float:
    """The shortest decimal that names the same float32: 232.35 for 232.35000610351562."""
    if not _LEAST <= abs(wide) < _TOO_GREAT:
        return _rare_decimal(wide)
    # An integer over a power of ten is the double next to that decimal, as reading its digits would be.
    cents = round(wide * 100)
    if -1_000_000 < cents < 1_000_000:
        _CELL[0] = short = cents / 100
        if _CELL[0] == wide:
            return short
    scale = _EIGHT_DIGITS[bisect_right(_TENS, abs(wide))]
    _CELL[0] = short = round(wide * scale) / scale
    if _CELL[0] != wide:
        return round(wide * scale * 10) / (scale * 10)
    for coarser in (scale / 10, scale / 100):
        _CELL[0] = shorter = round(wide * coarser) / coarser
        if _CELL[0] != wide:
            break
        short = shorter
    return short


def _rare_decimal(wide: float) -> float:
    """The same for 0, and for what is very small or great."""
    for form in ("%.6g", "%.7g", "%.8g"):
        short = float(form % wide)
        _CELL[0] = short
        if _CELL[0] == wide:
            return short
    return float(f"{wide:.9g}")
