"""``stockstream subscribe``: what the workers watch, changed while they run.

By the ``subscriptions`` topic itself, not by a worker's HTTP interface: no worker need be found or run, nor have an API
key; Kafka's own access control decides who may. The record is the one that the interface writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from stockstream.adapters import connection_of, registry_of, subject_of, subscriptions_topic
from stockstream.broker.follower import TopicFollower
from stockstream.broker.sender import Sender
from stockstream.broker.topics import ensure_topics, find_topics
from stockstream.cli.connect import now_ms, read_source_of
from stockstream.cli.text import aligned
from stockstream.codecs import Decoder, Encoder
from stockstream.errors import InvalidInput, Unreachable
from stockstream.models import SUBSCRIPTION_SCHEMA, Subscription, check_symbol
from stockstream.settings import Settings, read_symbols, split
from stockstream.tables.subscriptions import Subscriptions

_READ_WITHIN_S = 15.0
_LOOK_EVERY_S = 0.02


@click.command()
@click.argument("symbols", nargs=-1)
@click.option("--symbols-file", type=click.Path(), help="A file with one symbol a line; what follows a # is ignored.")
@click.option("--remove", is_flag=True, help="Watch these symbols no longer.")
@click.option("--list", "is_list", is_flag=True, help="Show what is watched, by which source, since when.")
def command(symbols: Sequence[str], symbols_file: str | None, remove: bool, is_list: bool) -> None:
    """Have the workers watch SYMBOLS, from now on and through their restarts.

    Returns when Kafka has confirmed it. What stands in a worker's own SYMBOLS it adds again whenever it starts.
    """
    named = [name for text in symbols for name in split(text)]
    wanted = list(dict.fromkeys([*named, *(read_symbols(Path(symbols_file)) if symbols_file else ())]))
    if is_list == bool(wanted) or (is_list and remove):
        raise click.UsageError("name symbols or a --symbols-file, or ask for a --list")
    settings = Settings.load()
    if is_list:
        asyncio.run(_list(settings))
    elif remove:
        asyncio.run(_remove(settings, [check_symbol(symbol) for symbol in wanted]))
    else:
        asyncio.run(_add(settings, {symbol: read_source_of(settings, symbol).name for symbol in wanted}))


async def _add(settings: Settings, sources: dict[str, str]) -> None:
    spec = subscriptions_topic(settings)
    connection = connection_of(settings)
    is_new = spec.name not in await find_topics(connection)
    await ensure_topics(connection, [spec], settings.replication)
    async with _subscriptions(settings) as subscriptions:
        known = set(subscriptions.watched)
        for symbol, source in sources.items():
            await subscriptions.add([symbol], source, "cli")
            click.echo(f"{symbol}: watched {'already' if symbol in known else f'from now on, by {source}'}")
    if is_new:
        click.echo(f"no worker has used topic {spec.name} yet: this counts as soon as one starts", err=True)


async def _remove(settings: Settings, symbols: Sequence[str]) -> None:
    await _check_topic(settings)
    unknown = []
    async with _subscriptions(settings) as subscriptions:
        for symbol in symbols:
            if await subscriptions.remove(symbol):
                click.echo(f"{symbol}: watched no longer")
            else:
                unknown.append(symbol)
    if unknown:
        raise InvalidInput(f"{', '.join(unknown)}: not watched (stockstream subscribe --list shows what is)")


async def _list(settings: Settings) -> None:
    await _check_topic(settings)
    async with _subscriptions(settings) as subscriptions:
        watched = [subscriptions.watched[symbol] for symbol in sorted(subscriptions.watched)]
    rows = [(each.symbol, each.source, _utc(each.since), each.added_by) for each in watched]
    for line in aligned([("symbol", "source", "since", "added by"), *rows]):
        click.echo(line)


async def _check_topic(settings: Settings) -> None:
    topic = subscriptions_topic(settings).name
    if topic not in await find_topics(connection_of(settings)):
        raise InvalidInput(f"there is no topic {topic}, so nothing is watched: stockstream subscribe AAPL creates it")


@asynccontextmanager
async def _subscriptions(settings: Settings) -> AsyncIterator[Subscriptions]:
    """What is watched, read to its end of now; the topic is there."""
    connection, topic = connection_of(settings), subscriptions_topic(settings).name
    registry, sender = registry_of(settings), Sender(connection)
    try:
        schema_id = await registry.ensure(subject_of(topic), SUBSCRIPTION_SCHEMA)
        decoder = Decoder(registry, Subscription, SUBSCRIPTION_SCHEMA)
        await sender.start()
        subscriptions = Subscriptions(
            connection.aiokafka(),
            topic,
            encode=Encoder(SUBSCRIPTION_SCHEMA, schema_id),
            decode=decoder.decode,
            prepare=decoder.prepare,
            send=sender.to(topic),
            now_ms=now_ms,
        )
        async with subscriptions.follower:
            await _read(subscriptions.follower)
            yield subscriptions
    finally:
        await sender.close()
        await registry.close()


async def _read(follower: TopicFollower) -> None:
    give_up_s = time.monotonic() + _READ_WITHIN_S
    while not follower.ready:
        if time.monotonic() > give_up_s:
            raise Unreachable(f"what is watched cannot be read: {follower.degraded or 'Kafka does not answer'}")
        await asyncio.sleep(_LOOK_EVERY_S)


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
