"""What doctor says of the symbols in the settings: their sources, keys and calendars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import UTC, date, datetime

from stockstream.adapters import feed_of
from stockstream.calendars import calendars_in
from stockstream.errors import InvalidInput, StockstreamError
from stockstream.settings import Settings
from stockstream.sources.catalog import SOURCES, Source, calendar_of, source_of
from stockstream.sources.contract import Guarded, NotAdmitted

_LAST_DAYS = 14


def check_sources(settings: Settings) -> dict[str, Awaitable[str]]:
    """A check of each source with symbols in the settings, and of those that are of none."""
    symbols: Counter[str] = Counter()
    strays: list[str] = []
    for symbol in settings.all_symbols():
        try:
            symbols[source_of(symbol).name] += 1
        except InvalidInput as error:
            strays.append(str(error))
    checks: dict[str, Awaitable[str]] = {
        f"source {name}": _source(settings, SOURCES[name], count) for name, count in symbols.items()
    }
    return checks | ({"symbols": _stray(strays)} if strays else {})


async def _source(settings: Settings, source: Source, symbols: int) -> str:
    feed = feed_of(settings, source)
    if source.topic not in settings.tick_topics:
        raise StockstreamError(f"its topic {source.topic} is not read: add it to STOCKSTREAM_TICK_TOPICS")
    told = f"{symbols:,} symbol{'' if symbols == 1 else 's'}"
    if not isinstance(feed, Guarded):
        return told
    try:
        await feed.locate()
    except NotAdmitted as error:
        raise StockstreamError(str(error)) from error
    return f"{told}, key set; no connection was tried, as one more may end those that are open"


def check_calendars(settings: Settings) -> dict[str, Awaitable[str]]:
    """A check of the calendars by which the symbols in the settings are traded, if holidays matter to any of them."""
    calendars = calendars_in(settings.calendars)
    used = {calendar_of(calendars, symbol) for symbol in settings.all_symbols()}
    ends = sorted((each.last, each.code) for each in used if each is not None and each.last is not None)
    return {"calendars": known_until(ends)} if ends else {}


async def known_until(ends: Sequence[tuple[date, str]]) -> str:
    """Say when the first of the calendars ends; an error if that is soon."""
    today = datetime.now(UTC).date()
    soon = [
        f"{code} end{'s' if last >= today else 'ed'} on {last}"
        for last, code in ends
        if (last - today).days < _LAST_DAYS
    ]
    if soon:
        raise StockstreamError(
            f"{', '.join(soon)}: later holidays are not known. Install a newer stockstream, or put files with them "
            "into a folder and set STOCKSTREAM_CALENDARS (docs/calendars.md)"
        )
    last, first = ends[0]
    codes = ", ".join(sorted(code for _, code in ends))
    return f"holidays of {codes} are known; {first} ends first, in {(last - today).days} days"


async def _stray(errors: Sequence[str]) -> str:
    raise StockstreamError("; ".join(errors))
