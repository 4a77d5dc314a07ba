"""Texts of clients and users: queries, headers, options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import click
from fuzz.mutation import Corpus
from fuzz.target import Take, Target
from multidict import MultiDict

from stockstream.cli.columns import parse_columns, parse_symbols
from stockstream.cli.replay import parse_speed
from stockstream.cli.times import parse_time_option
from stockstream.errors import InvalidInput, SettingsError
from stockstream.push import Hub
from stockstream.sources.limits import retry_after_s
from stockstream.sources.sim.options import Options
from stockstream.web.candles import CandleQuery
from stockstream.web.gaps import GapQuery
from stockstream.web.stream import StreamQuery

_TIMES = ["2025-01-31T09:30:00Z", "1763000000000", "2025-01-31t09:30:00.123456789+14:00", "0001-01-01T00:00:00%2B14:00"]
_QUERIES = [
    "interval=5m&start=2025-01-31T09:30:00Z&end=1763000000000&limit=10&fill=previous&session=extended",
    "symbols=AAPL,BTC-USD&interval=1m&session=regular&latest=all",
    "symbols=*",
    "symbol=AAPL&from=1763000000000&to=1763000000001&state=open&limit=10000",
    *(f"start={time}" for time in _TIMES),
]


def _queries() -> list[Corpus]:
    return [Corpus([query.encode() for query in _QUERIES], is_text=True, words=[*map(str.encode, _TIMES), *_WORDS])]


_WORDS = [
    b"1m",
    b"1d",
    b"regular",
    b"repaired",
    b"-1",
    b"1e3",
    b"\xc2\xb2",
    b"\xd9\xa3",
    b"9" * 30,
    b"",
    b"*",
    b"A" * 65,
]


def _open_queries(_folder: Path) -> Take:
    """Each query is asked of each route: most are of another, which says so."""
    parsers: list[Callable[[Any], object]] = [CandleQuery.parse, StreamQuery.parse, GapQuery.parse]

    def take(data: bytes) -> int:
        query = MultiDict(parse_qsl(data.decode("utf-8", "surrogateescape"), keep_blank_values=True))
        accepted = 0
        for parse in parsers:
            try:
                parse(query)
                accepted += 1
            except InvalidInput:
                pass
        return accepted

    return take


def _ids() -> list[Corpus]:
    return [Corpus([b"0123456789ab-17", b"0123456789ab-0", b"-5"])]


def _open_ids(_folder: Path) -> Take:
    hub = Hub()
    boot = hub.event_id(0).encode().rpartition(b"-")[0]
    for number in range(20):
        hub.publish(("latest", str(number)), number)

    def take(data: bytes) -> int:
        text = data.replace(b"0123456789ab", boot).decode("utf-8", "surrogateescape")
        with hub.subscribe(lambda key: True, text) as subscription:
            return subscription._place is not None

    return take


def _options() -> list[Corpus]:
    texts = [
        b"sim:?seed=7&ticks_per_s=20&duplicates=0.01&late=0.001&late_s=1200&disorder_ms=2000&id_jumps=0.5",
        b"sim:",
    ]
    texts += [b"event_ms=time,price=px", b"AAPL,BTC-USD", b"600", b"max", b"2025-01-31", *map(str.encode, _TIMES)]
    return [Corpus(texts, is_text=True)]


def _open_options(_folder: Path) -> Take:
    context, parameter = click.Context(click.Command("replay")), click.Option(["--from"])
    parsers: list[Callable[..., object]] = [parse_columns, parse_symbols, parse_speed, parse_time_option]

    def take(data: bytes) -> int:
        text = data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
        accepted = 0
        for parse in parsers:
            try:
                parse(context, parameter, text)
                accepted += 1
            except click.BadParameter:
                pass
        retry_after_s(text)
        try:
            Options.of(text)
            accepted += 1
        except SettingsError:
            pass
        return accepted

    return take


TARGETS = [
    Target("queries", "queries of /candles, /stream and /gaps", _queries, _open_queries),
    Target("last-event-id", "Last-Event-ID of /stream", _ids, _open_ids),
    Target("options", "options of commands, sim: URLs, Retry-After", _options, _open_options, inputs=200_000),
]
