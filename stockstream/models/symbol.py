"""What may name an instrument."""

from __future__ import annotations

import re

from stockstream.errors import InvalidSymbol

_SYMBOL = re.compile(r"[A-Za-z0-9._\-^=:/]{1,64}")


def is_symbol(text: str) -> bool:
    """Whether ``text`` may identify an instrument (Kafka key, table key, URL, ClickHouse)."""
    return _SYMBOL.fullmatch(text) is not None


def check_symbol(text: str) -> str:
    """Return ``text``; raise `InvalidSymbol` if it cannot identify an instrument."""
    if not is_symbol(text):
        raise InvalidSymbol(f"{text!r} is no symbol: use 1 to 64 of A-Z a-z 0-9 . _ - ^ = : /")
    return text
