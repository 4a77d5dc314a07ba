"""What parsers of JSON have in common: each raises `BadMessage` where something is not what it should be."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from stockstream.errors import BadMessage
from stockstream.models.text import is_unicode
from stockstream.sources.contract import Frame

_SHOWN = 80


def read_json(text: Frame) -> Any:
    """The content of a JSON text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"no JSON: {shown(text)}") from error


def number(value: object) -> float:
    """A JSON number as the double nearest to it, if that is finite."""
    if type(value) is not int and type(value) is not float:
        raise BadMessage(f"no number: {shown(value)}")
    try:
        found = float(value)
    except OverflowError as error:
        raise BadMessage(f"too great a number: {shown(value)}") from error
    if not isfinite(found):
        raise BadMessage(f"no finite number: {shown(value)}")
    return found


def plain_text(value: object) -> str:
    """A JSON text that can be stored."""
    if not isinstance(value, str) or not is_unicode(value):
        raise BadMessage(f"no text: {shown(value)}")
    return value


def shown(value: object) -> str:
    """The beginning of a value, for an error's text."""
    try:
        return repr(value[: 2 * _SHOWN] if isinstance(value, str | bytes) else value)[:_SHOWN]
    except (ValueError, RecursionError):  # an integer of thousands of digits, or lists in lists in lists
        return f"({type(value).__name__})"
