"""``stockstream replay``: a trades file into a topic, at the pace of its time or faster."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from typing import Any

import click
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stockstream.broker.topics import KEPT_7_DAYS, TopicSpec, ensure_topics, unreachable
from stockstream.cli.columns import parse_columns, parse_symbol
from stockstream.cli.connect import connection_of, registry_of, subject_of, tick_schema_of
from stockstream.cli.progress import progress
from stockstream.codecs import Encoder
from stockstream.errors import BrokerUnreachable
from stockstream.models import Tick
from stockstream.settings import Settings
from stockstream.sources.replay.trades_file import DEFAULT_SYMBOL, TradesFile

REPLAY_PREFIX = "replay-"
_CONNECT_S = 9.0
_TICKS_BETWEEN_YIELDS = 200
_LONGEST_SLEEP_S = 0.2


def parse_speed(ctx: click.Context, parameter: click.Parameter, text: str) -> float | None:
    """Return how many times faster than its own time the file is played; None for as fast as possible."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise click.BadParameter(f"{text!r} is neither a number above 0 nor max")
    return speed


@click.command()
@click.argument("file")
@click.option("--topic", help="Topic to write, as it is named. [default: replay- and the first tick topic]")
@click.option(
    "--symbol", callback=parse_symbol, help="Symbol of a file without a symbol column; else the only one to replay."
)
@click.option(
    "--speed", callback=parse_speed, default="1", show_default=True, help="×N of the trades' own time, or max."
)
@click.option("--columns", callback=parse_columns, help="The file's own column names: event_ms=time,price=px,…")
def command(file: str, topic: str | None, symbol: str | None, speed: float | None, columns: Mapping[str, str]) -> None:
    """Produce the trades of FILE, as `stockstream candles` reads it, into a topic.

    Never into the live topics unless --topic says so: run the worker that reads them with an app id of its own and
    STOCKSTREAM_TOPIC_PREFIX=replay-. Each trade counts as received when it happened, so none is late.
    """
    settings = Settings.load()
    with TradesFile(file, columns, symbol or DEFAULT_SYMBOL) as trades:
        replay = _Replay(trades, symbol if trades.has_symbol else None, speed)
        code = asyncio.run(replay.run(settings, topic or _default_topic(settings)))
    click.get_current_context().exit(code)


def _default_topic(settings: Settings) -> str:
    name = settings.topic(settings.tick_topics[0])
    return name if name.startswith(REPLAY_PREFIX) else REPLAY_PREFIX + name


class _Replay:
    """One run: counts what the broker has acknowledged, and stops on a signal without losing what was sent."""

    def __init__(self, trades: TradesFile, only: str | None, speed: float | None) -> None:
        self._trades = trades
        self._only = only
        self._speed = speed
        self._signal: signal.Signals | None = None
        self._stopping = asyncio.Event()
        self._sent = 0
        self._acknowledged = 0
        self._failure: BaseException | None = None
        self._symbols: set[str] = set()

    async def run(self, settings: Settings, topic: str) -> int:
        """Replay, print the counts, return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        producer, encoder = await self._prepare(settings, topic)
        began_s = time.monotonic()
        try:
            await self._send_all(producer, encoder, topic)
        finally:
            await producer.stop()  # sends what is buffered and waits for it
            took_s = time.monotonic() - began_s
            click.echo(
                f"{self._acknowledged:,} of {self._sent:,} trades written to {topic}, symbols: {len(self._symbols)}, "
                f"in {took_s:.1f} s{', interrupted' if self._signal else ''}"
            )
        if self._failure is not None:
            raise BrokerUnreachable(f"Kafka did not take every trade: {self._failure}") from self._failure
        return 0 if self._signal is None else 128 + self._signal

    async def _prepare(self, settings: Settings, topic: str) -> tuple[AIOKafkaProducer, Encoder]:
        connection = connection_of(settings)
        spec = TopicSpec(topic, settings.partitions, KEPT_7_DAYS)
        try:
            await asyncio.wait_for(ensure_topics(connection, [spec], settings.replication), _CONNECT_S)
        except TimeoutError as error:
            raise unreachable(connection, error) from error
        registry = registry_of(settings)
        try:
            schema = tick_schema_of(settings)
            encoder = Encoder(schema, await registry.ensure(subject_of(topic), schema))
        finally:
            await registry.close()
        # aiokafka's own partitioner is murmur2 over the key, as in every producer of ours.
        producer = AIOKafkaProducer(acks="all", enable_idempotence=True, linger_ms=5, **connection.aiokafka())
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise unreachable(connection, error) from error
        return producer, encoder

    async def _send_all(self, producer: AIOKafkaProducer, encoder: Encoder, topic: str) -> None:
        began_s, first_ms = time.monotonic(), None
        with progress("replaying", self._trades.size_bytes) as told:
            for tick in self._trades:
                if self._only is not None and tick.symbol != self._only:
                    continue
                if first_ms is None:
                    first_ms = tick.event_time
                if self._speed is not None:
                    await self._wait_until(began_s + (tick.event_time - first_ms) / 1000 / self._speed)
                if self._sent % _TICKS_BETWEEN_YIELDS == 0:
                    told(self._trades.position_bytes)
                    await asyncio.sleep(0)
                if self._stopping.is_set() or self._failure is not None:
                    return
                await self._send(producer, encoder, topic, tick)

    async def _send(self, producer: AIOKafkaProducer, encoder: Encoder, topic: str, tick: Tick) -> None:
        try:
            future = await producer.send(topic, encoder(tick), key=tick.symbol.encode())
        except KafkaError as error:
            self._failure = error
            return
        future.add_done_callback(self._settle)
        self._sent += 1
        self._symbols.add(tick.symbol)

    async def _wait_until(self, due_s: float) -> None:
        while not self._stopping.is_set() and (left_s := due_s - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._stopping.wait(), left_s)
            except TimeoutError:
                return

    def _settle(self, future: Any) -> None:
        error = future.exception()
        if error is None:
            self._acknowledged += 1
        else:
            self._failure = error

    def _stop(self, number: signal.Signals) -> None:
        self._signal = number
        self._stopping.set()
