"""Every outage by itself: what stockstream lives on is away, full, slow or wrong for a while, and comes back.

See docs/faults.md, "Outages".
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from faults.judge import Expectation, judge_clickhouse
from faults.outage import WITH_ENGINE_MB, Outcome, checks_of, trial
from faults.run import PARTITIONS, Servers
from load import BEGIN_MS, SYMBOLS, expectation_of, market
from market import MarketTime

from stockstream.codecs.avro import Encoder
from stockstream.codecs.registry import Registry
from stockstream.core.interval import window_start
from stockstream.models import TICK_SCHEMA_V2, Tick
from stockstream.testing.clickhouse import FaultMode
from stockstream.testing.process import HOST, ServerProcess, free_ports, http_status
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.wait import wait_until

HOUR_TICKS = 211_765
"""So many ticks of the load are an hour of event time."""
_FOR_EVER = 1_000_000_000
_HOUR_MS = 3_600_000
_FIRST_MINUTE_MS = window_start("1m", BEGIN_MS)


def clickhouse_away(servers: Servers) -> Outcome:
    """An hour of ticks while nobody listens at ClickHouse's port, and one of the workers is killed meanwhile."""
    most_rows = 50_000
    with trial(servers, "clickhouse-away", sink_max_rows=str(most_rows)) as under:
        under.join("w0", "w1")
        under.begin(HOUR_TICKS, 80)
        under.until_sent(0.05)
        servers.clickhouse.stop()
        try:
            under.until_said("start it, or set CLICKHOUSE_URL")
            under.until_sent(0.5)
            under.must("candles go on: at most 10,000 ticks wait to be read", _is_near(under.system.progress()))
            under.system.workers["w1"].kill()
            under.end_load()
            under.until("all ticks are in candles", lambda: _is_even(under.system.progress()))
            under.until_ready()
            under.until_said("start it, or set CLICKHOUSE_URL")
            waiting = [_waiting_rows(told) for *_, wrong in under.watch.ready for told in wrong.values()]
            under.outcome.figures["most rows held by a worker"] = max(waiting)
            # what was fetched already when it became full is still taken
            under.must(f"no worker holds more than {most_rows} rows and a fetch", max(waiting) <= 1.5 * most_rows)
        finally:
            servers.clickhouse.start()
        under.judge()
    return under.outcome


def clickhouse_away_by_default(servers: Servers) -> Outcome:
    """Two hours of ticks while ClickHouse is away, for one worker that holds as many rows as it does by default."""
    with trial(servers, "clickhouse-away-by-default") as under:
        under.join("w0")
        under.begin(2 * HOUR_TICKS, 120)
        under.until_sent(0.02)
        servers.clickhouse.stop()
        try:
            under.until_said("start it, or set CLICKHOUSE_URL")
            under.end_load()
            under.until("all ticks are in candles", lambda: _is_even(under.system.progress()))
            under.rest(5)
            (told,) = (check["detail"] for check in checks_of(under.worker) if check["name"] == "sink")
            under.outcome.figures |= {"rows held at the end": _waiting_rows(told)}
        finally:
            servers.clickhouse.start()
        under.judge(is_cold=False)
    return under.outcome


def clickhouse_slow(servers: Servers) -> Outcome:
    """Each insert takes four seconds."""
    with trial(servers, "clickhouse-slow") as under:
        under.join("w0", "w1")
        servers.clickhouse.fault(FaultMode.SLOW, _FOR_EVER, 4, "INSERT")
        under.begin(40_000, 40)
        under.until_sent(0.9)
        under.must("candles go on: at most 10,000 ticks wait to be read", _is_near(under.system.progress()))
        under.end_load()
        servers.clickhouse.clear()
        under.judge()
    return under.outcome


def _clickhouse_refuses(name: str, mode: FaultMode, text: str) -> Callable[[Servers], Outcome]:
    def refused(servers: Servers) -> Outcome:
        with trial(servers, name) as under:
            under.join("w0", "w1")
            under.begin(30_000, 30)
            under.until_sent(0.1)
            servers.clickhouse.fault(mode, _FOR_EVER, match="INSERT")
            under.until_said(text)
            under.end_load()
            under.until("all ticks are in candles", lambda: _is_even(under.system.progress()))
            under.must("reads of ClickHouse work", under.system.sql("SELECT count() FROM candles")[0][0])
            under.must("the worker stays ready", under.worker.get("/health/ready")[0] == 200)
            servers.clickhouse.clear()
            under.judge()
        return under.outcome

    return refused


def rocksdb_full(servers: Servers) -> Outcome:
    """No room on the disk that the stores lie on, while ticks come and at the starts that follow."""
    with trial(servers, "rocksdb-full") as under, _small_disk(under.system.root / "w0", "512m") as disk:
        under.join("w0")
        under.begin(30_000, 30)
        disk.fill()
        under.until_logged("make room on their disk, or mend it, and start again")
        under.until("the worker ended with exit code 1", lambda: under.worker.exit_code == 1)
        under.until("and so did the start after it", lambda: under.stage.ends.total() >= 2)
        under.end_load()
        disk.clear()
        under.until_ready()
        under.judge()
        codes = {end.partition(":")[0] for end in under.stage.ends}
        under.must("it ended with no other code, until it was stopped", codes == {"0", "1"})
    return under.outcome


def embedded_full(servers: Servers) -> Outcome:
    """No room on the disk of the engine that is embedded in the worker."""
    with (
        trial(servers, "embedded-full", WITH_ENGINE_MB) as under,
        _small_disk(under.system.root / "engine", "256m") as disk,
    ):
        engine = disk.folder / "clickhouse"
        under.system.environment["CLICKHOUSE_URL"] = f"chdb://{engine}"
        under.join("w0")
        under.begin(30_000, 30)
        under.until_sent(0.2)
        disk.fill()
        under.until_said("make room on its disk")
        under.end_load()
        under.until("all ticks are in candles", lambda: _is_even(under.system.progress()))
        under.must("the worker stays ready", under.worker.get("/health/ready")[0] == 200)
        disk.clear()
        expected = under.judge(is_embedded=True)
        with _serving(under.system, engine):
            under.outcome.places |= judge_clickhouse(under.system, expected)
    return under.outcome


def kafka_retention_over(servers: Servers) -> Outcome:
    """Half of the ticks come while the worker is away, and Kafka deletes them before it is back."""
    ticks = market(1, 30_000, 0.05)
    with trial(servers, "kafka-retention-over") as under:
        topic = under.system.topic("yfinance")
        under.join("w0")
        under.begin(10_000, 10, ticks)
        under.end_load()
        under.until("everything is read", under.system.is_drained)
        under.leave("w0")
        under.begin(10_000, 10, ticks)
        under.end_load()
        read, log = _commits(under.system), under.system.tick_log()
        unread = sum(1 for number, of_partition in log.items() for at, _ in of_partition if at >= read[number])
        under.system.topics.configure(topic, "retention.ms", "1")
        under.until("Kafka has deleted all of the log", lambda: not under.system.topics.read(topic))
        under.system.topics.configure(topic, "retention.ms", None)
        under.join("w0")
        under.begin(10_000, 10, ticks)
        under.until_logged("were deleted before they were read")
        under.end_load()
        under.until("everything is read, as far as it is there", under.system.is_drained)
        lost = under.worker.metrics()["stockstream_lost_before_read_total"]
        under.outcome.figures |= {"ticks deleted unread": unread, "told for candles": int(lost["candles"])}
        under.outcome.figures["told for the archive"] = int(lost["sink"])
        under.must("the metric counts what was deleted, for candles and archive", set(lost.values()) == {unread})

        def left() -> Expectation:
            kept = {n: [each for each in of_partition if each[0] < read[n]] for n, of_partition in log.items()}
            return expectation_of({n: kept.get(n, []) + more for n, more in under.system.tick_log().items()})

        under.judge(left)
    return under.outcome


def kafka_retention_near(servers: Servers) -> Outcome:
    """ClickHouse is away for more than half of the time for which Kafka keeps candles and ticks."""
    kept_s = 200
    with trial(servers, "kafka-retention-near") as under:
        under.join("w0")
        for name in ("yfinance", "candles"):
            under.system.topics.configure(under.system.topic(name), "retention.ms", str(kept_s * 1000))
        under.begin(45_000, 180)
        under.until_sent(0.05)
        servers.clickhouse.stop()
        try:
            under.until_said("start it, or set CLICKHOUSE_URL")
            under.until_said("has not read of topic")
            under.until_logged("have it read before, or raise the topic's retention.ms")
            left = under.worker.metrics()["stockstream_retention_left_seconds"]
            under.outcome.figures |= {f"{at} seconds left": round(left_s) for at, left_s in left.items()}
        finally:
            servers.clickhouse.start()
        under.until_logged("what is not read is kept long enough again")
        under.end_load()
        lost = under.worker.metrics()["stockstream_lost_before_read_total"]
        under.must("nothing was deleted unread", set(lost.values()) == {0})
        under.judge()
    return under.outcome


def registry_away_at_the_start(servers: Servers) -> Outcome:
    """A worker starts while nobody answers for the registry, for longer than it may wait."""
    with trial(servers, "registry-away-at-the-start", start_timeout_s="12") as under:
        under.join("w0")
        under.leave("w0")
        under.begin(20_000, 20)
        under.until_sent(0.1)
        servers.registry.stop()
        try:
            under.stage.join("w0")
            under.until_logged("does not answer")
            under.must("nobody takes it for ready", under.worker.get("/health/ready")[0] != 200)
            under.until_logged("gave up after STOCKSTREAM_START_TIMEOUT_S=12")
            under.until("it ended with exit code 1, to be started again", lambda: under.stage.ends.total() >= 2)
        finally:
            servers.registry.start()
        under.until_ready()
        under.judge()
    return under.outcome


def registry_away(servers: Servers) -> Outcome:
    """The registry ends under way; then ticks come that were written with a schema that no worker has seen."""
    ticks = list(market(1, 31_000, 0.05))
    with trial(servers, "registry-away") as under:
        under.join("w0", "w1")
        encode = _with_another_schema(under.system)
        under.begin(30_000, 30, iter(ticks))
        under.until_sent(0.2)
        servers.registry.stop()
        try:
            under.until_sent(0.5)
            under.must("candles go on: at most 10,000 ticks wait to be read", _is_near(under.system.progress()))
            unknown = [(tick.symbol.encode(), encode(tick)) for tick in ticks[30_000:]]
            under.outcome.ticks += len(unknown)
            under.system.topics.produce(under.system.topic("yfinance"), unknown)
            under.until_said("waiting for schema")
            under.until_logged("waiting for schema")
            under.end_load()
            under.rest(10)
            under.must("ticks wait", not _is_even(under.system.progress()))
            under.must("the worker stays ready", under.worker.get("/health/ready")[0] == 200)
        finally:
            servers.registry.start()
        under.judge()
    return under.outcome


def _with_another_schema(system: System) -> Callable[[Tick], bytes]:
    """Writes ticks with a schema of the registry that has a field more."""
    note = {"name": "note", "type": ["null", "string"], "default": None}
    schema = {**TICK_SCHEMA_V2, "fields": [*TICK_SCHEMA_V2["fields"], note]}

    async def register() -> int:
        registry = Registry(system.registry_url)
        try:
            return await registry.ensure(f"{system.topic('others')}-value", schema)
        finally:
            await registry.close()

    encode = Encoder(schema, asyncio.run(register()))
    return lambda tick: encode({**asdict(tick), "note": None})


def clock_of_a_worker(servers: Servers) -> Outcome:
    """A worker's wall clock leaps an hour ahead, two hours back, and is right again."""
    with trial(servers, "clock-of-a-worker") as under:
        ticks, clock = market(1, 40_100, 0.05), MarketTime(under.system.root / "shift", _now_ms())
        under.system.environment |= clock.environment
        under.join("w0")
        under.system.produce(islice(ticks, 100))
        under.until("everything is read", under.system.is_drained)
        under.must("windows are open", _are_open(under.worker))
        clock.leap(_now_ms() + _HOUR_MS)
        under.rest(5)
        under.must("none of them closes as the clock leaps", _are_open(under.worker))
        under.begin(40_000, 40, ticks)
        for share, shift_ms in ((0.25, -_HOUR_MS), (0.5, _HOUR_MS), (0.75, 0)):
            under.until_sent(share)
            clock.leap(_now_ms() + shift_ms)
        under.judge()
    return under.outcome


def clock_of_a_producer(servers: Servers) -> Outcome:
    """A producer's wall clock, which says when a tick was received, leaps an hour ahead and an hour back."""
    count = 30_000

    def shift_ms(number: int) -> int:
        return _HOUR_MS if 6_000 <= number < 9_000 else -_HOUR_MS if 18_000 <= number < 21_000 else 0

    ticks = (
        replace(tick, producer_timestamp=tick.producer_timestamp + shift_ms(number))
        for number, tick in enumerate(market(1, count, 0.05))
    )
    with trial(servers, "clock-of-a-producer") as under:
        under.join("w0")
        under.begin(count, 30, ticks)
        under.end_load()
        under.until("everything is read", under.system.is_drained)
        verdicts = under.worker.metrics()["stockstream_ticks_total"]
        under.outcome.figures |= {f"ticks {verdict}": int(found) for verdict, found in verdicts.items()}
        under.must("those of the leap ahead count as late", verdicts["late"] == 3000)
        under.must("those of the leap back as from the future", verdicts["future"] == 3000)
        under.judge()
    return under.outcome


class _SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder, self._ballast = folder, folder / "ballast"

    def fill(self) -> None:
        """Leave no room, not even for a byte."""
        block = bytes(1 << 20)
        with self._ballast.open("ab", buffering=0) as file:
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def clear(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[_SmallDisk]:
    """A file system of its own in memory, of so many bytes; to mount it is for root."""
    folder.mkdir(parents=True)
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield _SmallDisk(folder)
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


@contextmanager
def _serving(system: System, engine: Path) -> Iterator[None]:
    """Have a system's ClickHouse be what an engine that was embedded has left."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "stockstream.testing.clickhouse", str(engine), str(port)]
    server = ServerProcess(command, system.root / "clickhouse.log", os.environ | {"TZ": "UTC"})
    server.start()
    try:
        wait_until(lambda: http_status(port, "GET", "/ping") == 200, 60, "the engine's data to be served")
        system.clickhouse_url = f"http://{HOST}:{port}"
        yield
    finally:
        server.stop()


OUTAGES: dict[str, Callable[[Servers], Outcome]] = {
    "clickhouse-away": clickhouse_away,
    "clickhouse-away-by-default": clickhouse_away_by_default,
    "clickhouse-slow": clickhouse_slow,
    "clickhouse-full": _clickhouse_refuses("clickhouse-full", FaultMode.FULL, "make room on its disk"),
    "clickhouse-read-only": _clickhouse_refuses("clickhouse-read-only", FaultMode.READ_ONLY, "takes no writes for now"),
    "rocksdb-full": rocksdb_full,
    "embedded-full": embedded_full,
    "kafka-retention-over": kafka_retention_over,
    "kafka-retention-near": kafka_retention_near,
    "registry-away-at-the-start": registry_away_at_the_start,
    "registry-away": registry_away,
    "clock-of-a-worker": clock_of_a_worker,
    "clock-of-a-producer": clock_of_a_producer,
    "clickhouse-read-only-user": _clickhouse_refuses(
        "clickhouse-read-only-user", FaultMode.READ_ONLY_USER, "its user may only read"
    ),
}


def run_outages(servers: Servers, names: Iterable[str]) -> Iterator[Outcome]:
    """Run those of these names (all), one after the other."""
    for name in names or OUTAGES:
        yield OUTAGES[name](servers)


def _is_even(progress: tuple[int, int]) -> bool:
    committed, end = progress
    return committed == end


def _is_near(progress: tuple[int, int], ticks: int = 10_000) -> bool:
    committed, end = progress
    return end - committed <= ticks


def _commits(system: System) -> dict[int, int]:
    """How far the workers' group has read each partition of the ticks."""
    consumer = Consumer({"bootstrap.servers": system.bootstrap, "group.id": system.id})
    places = [TopicPartition(system.topic("yfinance"), number) for number in range(PARTITIONS)]
    found = consumer.committed(places, timeout=30)
    consumer.close()
    return {place.partition: max(0, place.offset) for place in found}


def _are_open(worker: WorkerProcess) -> bool:
    """Whether a worker holds windows of the load's first minute, and none of them is closed."""
    answers = [worker.get(f"/tables/candles_1m/{symbol}")[1] for symbol in SYMBOLS]
    rows = [row for answer in answers for row in answer.get("rows", ())]  # of some symbols there are none yet
    states = [row["is_closed"] for row in rows if row["window_start_ms"] == _FIRST_MINUTE_MS]
    return bool(states) and not any(states)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _waiting_rows(told: str) -> int:
    """The rows that a worker holds, by what it says of its sink."""
    words = told.replace(",", "").split()
    return int(words[words.index("waiting") - 1]) if "waiting" in words else 0
