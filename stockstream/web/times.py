"""Times at the edge: RFC 3339 outside, epoch milliseconds inside, both in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from stockstream.errors import InvalidInput
from stockstream.sources.replay.rows import likely_unit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GREATEST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH_MS = re.compile(r"\d{1,15}", re.ASCII)


def rfc3339(epoch_ms: int) -> str:
    """Epoch milliseconds as ``2025-01-31T09:30:00.000Z``."""
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def stamp(name: str, epoch_ms: int) -> dict[str, str | int]:
    """A time as it stands in every answer: ``name`` in RFC 3339 and ``name_ms`` as an integer."""
    return {name: rfc3339(epoch_ms), f"{name}_ms": epoch_ms}


def parse_time(name: str, text: str) -> int:
    """Read the query parameter ``name``, RFC 3339 or epoch milliseconds, as epoch milliseconds; floors what is finer.

    Raises:
        InvalidInput: neither of both, a number that looks like seconds, or outside the years 1970 to 9999.
    """
    epoch_ms = int(text) if _EPOCH_MS.fullmatch(text) else _parse_rfc3339(text)
    if epoch_ms is None:
        raise InvalidInput(
            f"{name}={text!r} is no time: write 2025-01-31T09:30:00Z or epoch milliseconds"
            " (in a URL the + of an offset is %2B)"
        )
    if text.isdigit() and likely_unit(epoch_ms) == "s":
        raise InvalidInput(f"{name}={text!r} is in 1970 as epoch ms, and looks like seconds: give milliseconds")
    if not 0 <= epoch_ms <= _GREATEST_MS:
        raise InvalidInput(f"{name}={text!r} lies outside the years 1970 to 9999")
    return epoch_ms


def _parse_rfc3339(text: str) -> int | None:
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1)
