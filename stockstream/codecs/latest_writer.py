"""Latest prices to the bytes of their schema, written by hand: a fifth of the time of a general writer.

One is written for each symbol of each fetch. Texts, which venues and sessions share, are looked up.
"""

from __future__ import annotations

import struct

from stockstream.codecs.optional import optional_tail, text, varint
from stockstream.codecs.remembered import Remembered
from stockstream.models import LATEST_SCHEMA, Latest

_ORDER = (
    *("symbol", "price", "change", "change_percent", "session", "event_time", "received_time", "order", "version"),
    *("source", "exchange", "currency", "bid", "ask", "day_volume"),
)
_PRICES = struct.Struct("<3d").pack
_NOTHING = bytes(3)


class LatestWriter:
    """Writes ``header`` and the body of a latest price.

    Raises one of `stockstream.codecs.tick_writer.UNFIT` for what only a general writer may judge.
    """

    def __init__(self, header: bytes) -> None:
        fields = LATEST_SCHEMA["fields"]
        if tuple(field["name"] for field in fields) != _ORDER:
            raise RuntimeError("the order of the latest schema's fields has changed")
        _, self._optional = optional_tail(fields[_ORDER.index("currency") : _ORDER.index("day_volume")])
        self._symbols = Remembered[str](lambda symbol: header + text(symbol))
        self._texts = Remembered[str](text)

    def __call__(self, latest: Latest) -> bytes:
        """Return the framed bytes of ``latest``."""
        texts, rest = self._texts, (latest.currency, latest.bid, latest.ask)
        return b"".join(
            (
                self._symbols[latest.symbol],
                _PRICES(latest.price, latest.change, latest.change_percent),
                texts[latest.session],
                varint(latest.event_time),
                varint(latest.received_time),
                varint(latest.order),
                varint(latest.version),
                texts[latest.source],
                texts[latest.exchange],
                _NOTHING
                if rest == (None, None, None)
                else b"".join([written(value) for written, value in zip(self._optional, rest, strict=True)]),
                varint(latest.day_volume),
            )
        )
