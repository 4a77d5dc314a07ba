"""stockstream under test: worker processes on real servers, and every place where a candle can be read."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.message import Message
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar
from uuid import uuid4

import clickhouse_connect
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families

from stockstream.codecs.avro import Decoder, Encoder
from stockstream.codecs.registry import Registry
from stockstream.core.interval import INTERVALS_MS, Address
from stockstream.core.row import Row, row_is_newer
from stockstream.models import CANDLE_SCHEMA, LATEST_SCHEMA, TICK_SCHEMA_V2, Candle, Latest, Tick
from stockstream.tables import table_name
from stockstream.tables.rows import decode_key
from stockstream.testing.fork_server import ForkedProcess, ForkServer
from stockstream.testing.process import HOST, ServerProcess, free_ports
from stockstream.testing.topics import Topics, admin_client, ask_who_moves
from stockstream.testing.wait import wait_until

T = TypeVar("T")
_KAFKA_TIMEOUT_S = 30
_HANDFUL_S = 0.05
CandleKey = tuple[str, str, str, int]

_FAST = {
    "STOCKSTREAM_SESSION_TIMEOUT_S": "6",
    "STOCKSTREAM_HEARTBEAT_INTERVAL_S": "0.5",
    "STOCKSTREAM_REBALANCE_TIMEOUT_S": "6",
    "STOCKSTREAM_START_TIMEOUT_S": "20",
    "STOCKSTREAM_SINK_INTERVAL_MS": "200",
    "STOCKSTREAM_PARTITIONS": "4",  # each has a store and a changelog's partition of every table, for a start to make
}


class WorkerProcess(ServerProcess):
    """One ``faust -A stockstream worker`` with a data folder and, unless it is given one, a port of its own."""

    fork_server: ForkServer | None = None
    """Where workers come from, all imports done; None: each is started as a process of its own."""

    def __init__(self, root: Path, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.data = root / name
        self.port = int(environment.get("STOCKSTREAM_WEB_PORT") or free_ports(1)[0])
        super().__init__(
            [sys.executable, "-m", "faust", "-A", "stockstream", "worker", "-l", "info"],
            root / f"{name}.log",
            {
                **{key: value for key, value in os.environ.items() if not key.startswith("STOCKSTREAM_")},
                **environment,
                "STOCKSTREAM_DATA_DIR": str(self.data),
                "STOCKSTREAM_WEB_PORT": str(self.port),
            },
        )

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes] | ForkedProcess:
        environment = self._environment or {}
        if self.fork_server is None or environment.get("PYTHONPATH") != os.environ.get("PYTHONPATH"):
            return super()._launch(log)  # what is on that path may have a say in what is imported
        _, _, module, *arguments = self._command
        return self.fork_server.start(module, arguments, environment, log)

    def get(self, path: str, timeout_s: float = 10) -> tuple[int, Any]:
        """(status, parsed JSON) of a request to its web port; (0, None) if nobody answers."""
        status, _, answer = self.ask(path, timeout_s)
        return status, answer

    def metrics(self) -> dict[str, dict[str, float]]:
        """What `/metrics` tells: the samples of each name, by the values of their labels joined by a blank."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for sample in (sample for family in families for sample in family.samples):
            found[sample.name][" ".join(sample.labels.values())] = sample.value
        return found

    def ask(self, path: str, timeout_s: float = 10) -> tuple[int, Message, Any]:
        """As `get`, with the headers in between."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=timeout_s) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, json.loads(error.read() or b"null")
        except (OSError, HTTPException):
            return 0, Message(), None

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Wait until it owns its partitions and answers."""
        wait_until(lambda: self._is_ready(), timeout_s, f"worker {self.name} to be ready")

    def _is_ready(self) -> bool:
        self.check()
        return self.get("/health/ready")[0] == 200


class System:
    """One application id on shared servers: its topics, workers and stores, apart from every other's."""

    def __init__(self, bootstrap: str, registry_url: str, clickhouse_url: str, **settings: str) -> None:
        """``settings`` are ``STOCKSTREAM_…`` variables without the prefix, in lower case."""
        self.id = f"t{uuid4().hex[:10]}"
        self.root = Path(tempfile.mkdtemp(prefix=f"stockstream-{self.id}-"))
        self.topics = Topics(bootstrap)
        self.bootstrap, self.registry_url, self.clickhouse_url = bootstrap, registry_url, clickhouse_url
        self.prefix = f"{self.id}-"
        self.workers: dict[str, WorkerProcess] = {}
        self.environment = {
            **_FAST,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "SCHEMA_REGISTRY_URL": registry_url,
            "CLICKHOUSE_URL": clickhouse_url,
            "STOCKSTREAM_CLICKHOUSE_DATABASE": self.id,
            "STOCKSTREAM_APP_ID": self.id,
            "STOCKSTREAM_TOPIC_PREFIX": self.prefix,
            "STOCKSTREAM_TICK_TOPICS": "yfinance",
            **{f"STOCKSTREAM_{name.upper()}": value for name, value in settings.items()},
        }
        self._groups: dict[str, Consumer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers.values():
            worker.kill()
        for consumer in self._groups.values():
            consumer.close()
        if error is None:
            shutil.rmtree(self.root, ignore_errors=True)

    def topic(self, name: str) -> str:
        """A topic's name on the broker."""
        return self.prefix + name

    def start(self, name: str = "w0", wait: bool = True, **settings: str) -> WorkerProcess:
        """Start a worker, new or known by this name; ``settings`` are added to the system's own."""
        extra = {f"STOCKSTREAM_{key.upper()}": value for key, value in settings.items()}
        worker = self.workers.get(name)
        if worker is None or extra:
            worker = self.workers[name] = WorkerProcess(self.root, name, {**self.environment, **extra})
        worker.start()
        if wait:
            worker.wait_ready()
        return worker

    def encoder(self, topic: str = "yfinance") -> Encoder:
        """Encodes ticks for a topic, by version 2 of the schema."""
        return asyncio.run(self._register(f"{self.topic(topic)}-value"))

    async def _register(self, subject: str) -> Encoder:
        registry = Registry(self.registry_url)
        try:
            return Encoder(TICK_SCHEMA_V2, await registry.ensure(subject, TICK_SCHEMA_V2))
        finally:
            await registry.close()

    def produce(self, ticks: Iterable[Tick], topic: str = "yfinance") -> None:
        """Write ticks at full speed."""
        encode = self.encoder(topic)
        self.topics.produce(self.topic(topic), ((tick.symbol.encode(), encode(tick)) for tick in ticks))

    def feed(self, ticks: Sequence[Tick], seconds: float, ahead: int | None = None) -> Iterator[tuple[int, int]]:
        """Write ticks at an even pace that takes ``seconds``; yields `progress` after each handful.

        With ``ahead`` the writing waits while that many lie beyond the last commit, and goes on at the same pace.
        """
        encode = self.encoder()
        records = [(tick.symbol.encode(), encode(tick)) for tick in ticks]
        rate, sent, now_s = len(records) / seconds, 0.0, time.monotonic()
        while sent < len(records):
            time.sleep(_HANDFUL_S)
            committed, end = self.progress()
            before_s, now_s = now_s, time.monotonic()
            due = sent + rate * (now_s - before_s)
            if ahead is not None:
                due = min(due, max(sent, int(sent) + committed + ahead - end))
            self.topics.produce(self.topic("yfinance"), records[int(sent) : int(due)])
            sent = due
            yield self.progress()

    def progress(self) -> tuple[int, int]:
        """(committed, end) offsets of the tick topics, summed over partitions, of the workers' group."""
        return self._progress(self.id, self._tick_topics())

    def wait_drained(self, timeout_s: float = 120, sink: bool = True) -> None:
        """Wait until every tick is committed, and every candle and tick is in ClickHouse."""
        ticks = self._tick_topics()
        wait_until(lambda: self._is_read(self.id, ticks), timeout_s, "all ticks to be committed")
        if sink:
            group, published = f"{self.id}-sink", [*ticks, self.topic("candles")]
            wait_until(lambda: self._is_read(group, published), timeout_s, "the sink to have everything")

    def is_drained(self) -> bool:
        """Whether every tick is committed, and every candle and tick in ClickHouse; workers may come and go."""
        ticks = self._tick_topics()
        reads = [(self.id, ticks), (f"{self.id}-sink", [*ticks, self.topic("candles")])]
        return all(committed == end for committed, end in (self._progress(*each) for each in reads))

    def members(self) -> int:
        """How many workers the group counts."""
        group = self.id
        asked = self._admin.describe_consumer_groups([group], request_timeout=_KAFKA_TIMEOUT_S)
        return len(asked[group].result().members)

    @cached_property
    def _admin(self) -> AdminClient:
        return admin_client(self.bootstrap)

    def tick_log(self, topic: str = "yfinance") -> dict[int, list[tuple[int, Tick]]]:
        """The (offset, tick) of each partition of a tick topic."""
        log: dict[int, list[tuple[int, Tick]]] = {}
        records = self.topics.read(self.topic(topic))
        ticks = asyncio.run(self.decode([record.value or b"" for record in records], Tick, TICK_SCHEMA_V2))
        for record, tick in zip(records, ticks, strict=True):
            log.setdefault(record.partition, []).append((record.offset, tick))
        return log

    def candles_topic(self) -> dict[CandleKey, Candle]:
        """The candles of the ``candles`` topic, the highest version of each."""
        found: dict[CandleKey, Candle] = {}
        for candle in self.candle_changes():
            known = found.get(candle.key)
            if known is None or candle.version >= known.version:
                found[candle.key] = candle
        return found

    def candle_changes(self) -> list[Candle]:
        """All that the ``candles`` topic holds, by partition and offset."""
        return self._decoded("candles", Candle, CANDLE_SCHEMA)

    def latest_topic(self) -> dict[str, Latest]:
        """The last price of each symbol in the ``latest`` topic."""
        return {latest.symbol: latest for latest in self._decoded("latest", Latest, LATEST_SCHEMA)}

    def changelog(self, interval: str, in_log_order: bool = False) -> dict[Address, Row]:
        """The rows of an interval's changelog: the newest state of each, or with ``in_log_order`` the last one."""
        found: dict[bytes, bytes] = {}
        for record in self.topics.read(f"{self.id}-{table_name(interval)}-changelog"):
            if record.key is None:
                continue
            if record.value is None:
                found.pop(record.key, None)
            elif in_log_order or record.key not in found or row_is_newer(found[record.key], record.value):
                found[record.key] = record.value
        return {(interval, *decode_key(key)): Row.decode(value) for key, value in found.items()}

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query, in the system's own database."""
        client = clickhouse_connect.get_client(dsn=self.clickhouse_url, database=self.id)
        try:
            return [tuple(row) for row in client.query(query).result_rows]
        finally:
            client.close()

    def sql_candles(self, interval: str) -> dict[CandleKey, tuple[Any, ...]]:
        """By key: open, high, low, close, volume, trades, is_closed, version of the view ``candles``."""
        rows = self.sql(
            "SELECT c.symbol, c.interval, c.session, toUnixTimestamp64Milli(c.window_start), c.open, c.high, c.low, "
            "c.close, c.volume, c.trades, c.is_closed, c.version FROM candles AS c"
        )
        rows = [row for row in rows if row[1] == interval]
        found = {(row[0], row[1], row[2], row[3]): row[4:] for row in rows}
        if len(found) != len(rows):
            raise AssertionError(f"the view holds {len(rows) - len(found)} duplicates")
        return found

    def kill(self, name: str = "w0", wipe: bool = False) -> None:
        """SIGKILL a worker; ``wipe`` deletes its data folder."""
        worker = self.workers[name]
        worker.kill()
        if wipe:
            shutil.rmtree(worker.data, ignore_errors=True)

    def _tick_topics(self) -> list[str]:
        return [self.topic(name) for name in self.environment["STOCKSTREAM_TICK_TOPICS"].split(",")]

    def _is_read(self, group: str, topics: list[str]) -> bool:
        for worker in self.workers.values():
            if worker.exit_code not in (None, 0, -signal.SIGKILL):
                worker.check()
        committed, end = self._progress(group, topics)
        return committed == end

    def _progress(self, group: str, topics: list[str]) -> tuple[int, int]:
        ends = {topic: self.topics.end_offsets(topic) for topic in topics}
        consumer = self._groups.get(group)
        if consumer is None:
            consumer = self._groups[group] = Consumer(
                {"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0}
            )
        places = [TopicPartition(topic, partition) for topic in topics for partition in ends[topic]]
        found = ask_who_moves(lambda: consumer.committed(places, timeout=_KAFKA_TIMEOUT_S), _KAFKA_TIMEOUT_S)
        committed = sum(max(0, place.offset) for place in found)
        return committed, sum(sum(partitions.values()) for partitions in ends.values())

    def _decoded(self, topic: str, record: type[T], schema: dict[str, Any]) -> list[T]:
        values = [found.value for found in self.topics.read(self.topic(topic)) if found.value is not None]
        return asyncio.run(self.decode(values, record, schema))

    async def decode(self, values: list[bytes], record: type[T], schema: dict[str, Any]) -> list[T]:
        """The records of these values, whose schemas the registry knows."""
        registry = Registry(self.registry_url)
        try:
            decoder = Decoder(registry, record, schema)
            await decoder.prepare(values)
            return [decoder.decode(value) for value in values]
        finally:
            await registry.close()


def rows_of(system: System, in_log_order: bool = False) -> Iterator[tuple[Address, Row]]:
    """Every row of every interval's changelog."""
    for interval in INTERVALS_MS:
        yield from system.changelog(interval, in_log_order).items()
