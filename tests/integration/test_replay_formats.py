"""Recordings of every format into Kafka: the same ticks, and the candles that `stockstream candles` makes of them."""

from __future__ import annotations

import asyncio
import csv
import io
import signal
import subprocess
import sys
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from market_topic import ticks_in
from recordings import FORMATS, T0_MS, recording

from stockstream.cli.main import main
from stockstream.core.offline import OfflineEngine
from stockstream.models import Tick, Verdict
from stockstream.sinks.clickhouse import ClickHouseSink
from stockstream.sinks.contract import ArchivedTick
from stockstream.sources.replay.files import open_recording
from stockstream.testing.wait import wait_until


@pytest.fixture(autouse=True)
def prefix(kafka: Any, registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    prefix = f"t{uuid.uuid4().hex[:8]}."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", registry.url)
    monkeypatch.setenv("STOCKSTREAM_TOPIC_PREFIX", prefix)
    monkeypatch.setenv("STOCKSTREAM_PARTITIONS", "3")
    monkeypatch.setenv("STOCKSTREAM_REPLICATION", "1")
    return prefix


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def ticks(kafka: Any, registry: Any, topic: str) -> list[Tick]:
    """What lies in a topic, of each symbol in its order."""
    return [tick for _, tick in asyncio.run(ticks_in(kafka, registry, topic))]


def by_symbol(given: list[Tick]) -> dict[str, list[Tick]]:
    found: dict[str, list[Tick]] = defaultdict(list)
    for tick in given:
        found[tick.symbol].append(tick)
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_recorded_is_what_is_written(form: str, kafka: Any, registry: Any, prefix: str, tmp_path: Path) -> None:
    FORMATS[form](tmp_path / "recorded", recording())
    result = run("replay", "recorded", "--speed", "max", "--app-id", f"again-{form}")
    assert result.exit_code == 0, result.output
    topic = f"again-{form}-{prefix}yfinance"
    assert f"{len(recording())} of {len(recording())} ticks written to {topic}, symbols: 2" in result.stdout
    assert f"STOCKSTREAM_APP_ID=again-{form} STOCKSTREAM_TOPIC_PREFIX=again-{form}-{prefix} " in result.stderr

    written = ticks(kafka, registry, topic)
    with open_recording(str(tmp_path / "recorded")) as recorded:
        assert by_symbol(written) == by_symbol(list(recorded))

    engine = OfflineEngine()
    engine.add(written)
    made = [
        (candle.symbol, candle.window_start, candle.open, candle.high, candle.low, candle.close, volume)
        for candle, volume in engine.candles("1m")
    ]
    told = csv.DictReader(io.StringIO(run("candles", "recorded", "--interval", "1m").stdout))
    prices = ("open", "high", "low", "close")
    assert made == [
        (row["symbol"], int(row["start_ms"]), *(float(row[name]) for name in prices), row["volume"]) for row in told
    ]


def test_symbols_may_be_chosen(kafka: Any, registry: Any, prefix: str, tmp_path: Path) -> None:
    FORMATS["parquet"](tmp_path / "recorded", recording())
    assert run("replay", "recorded", "--speed", "max", "--symbols", "X:BBB,C").exit_code == 0
    assert {tick.symbol for tick in ticks(kafka, registry, f"replay-{prefix}yfinance")} == {"X:BBB"}


def test_what_came_before_a_bad_row_is_written_and_the_row_is_named(
    kafka: Any, registry: Any, prefix: str, tmp_path: Path
) -> None:
    rows = recording()
    rows[100]["price"] = -1.0
    FORMATS["parquet"](tmp_path / "recorded", rows)
    result = run("replay", "recorded", "--speed", "max")
    assert result.exit_code == 1
    assert "100 of 100 ticks written" in result.stdout
    assert "recorded, row 101: price is -1: must be above 0" in result.stderr
    assert len(ticks(kafka, registry, f"replay-{prefix}yfinance")) == 100


def test_seconds_are_replayed_only_when_it_is_said_that_they_are(
    kafka: Any, registry: Any, prefix: str, tmp_path: Path
) -> None:
    times_s = [1_700_000_000, 1_700_000_061]
    FORMATS["csv"](tmp_path / "seconds", [{"event_ms": at, "trade_id": at, "price": 1.5, "size": 1} for at in times_s])
    silent = run("replay", "seconds", "--speed", "max")
    assert silent.exit_code == 1
    assert "0 of 0 ticks written" in silent.stdout
    assert "seconds, line 2: event_ms is 1700000000, which is no time in ms: it looks like seconds" in silent.stderr
    assert run("replay", "seconds", "--speed", "max", "--time-unit", "s").exit_code == 0
    written = ticks(kafka, registry, f"replay-{prefix}yfinance")
    assert sorted(tick.event_time for tick in written) == [at * 1000 for at in times_s]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "FILE, or --from and --to for the archive"),
        (["recorded", "--from", "2025-01-01"], 2, "one of them, not both"),
        (["--from", "2025-01-02", "--to", "2025-01-01"], 2, "the earlier one first"),
        (["--from", "2025-01-02"], 2, "--from and --to are both needed"),
        (["--from", "yesterday", "--to", "2025-01-01"], 2, "'yesterday' is no time"),
        (["recorded", "--source", "yahoo"], 2, "are of the archive"),
        (["--from", "2025-01-01", "--to", "2025-01-02", "--symbol", "A"], 2, "--columns and --time-unit are of files"),
        (["recorded", "--symbol", "A", "--symbols", "A,B"], 2, "--symbol and --symbols are both given"),
        (["one", "--symbols", "A,B"], 2, "--symbols needs a symbol column"),
        (["recorded", "--app-id", "stockstream"], 1, "--app-id stockstream is the live worker's"),
        (["recorded", "--topic", "{prefix}yfinance"], 1, "yfinance is a live topic"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    arguments: list[str], code: int, said: str, prefix: str, tmp_path: Path
) -> None:
    FORMATS["csv"](tmp_path / "recorded", recording())
    FORMATS["csv"](tmp_path / "one", [{"event_ms": 1, "trade_id": 1, "price": 1.5, "size": 1}])
    result = run("replay", *(each.format(prefix=prefix) for each in arguments))
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_is_archived_is_what_is_written(
    kafka: Any, registry: Any, clickhouse: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = "replay_" + prefix.rstrip(".")
    monkeypatch.setenv("CLICKHOUSE_URL", clickhouse.url)
    monkeypatch.setenv("STOCKSTREAM_CLICKHOUSE_DATABASE", database)
    archived = asyncio.run(archive(clickhouse.url, database, f"{prefix}yfinance"))
    result = run("replay", "--from", str(T0_MS), "--to", str(T0_MS + 86_400_000), "--speed", "max")
    assert result.exit_code == 0, result.output
    assert by_symbol(ticks(kafka, registry, f"replay-{prefix}yfinance")) == by_symbol(archived)
    result = run("replay", "--from", "2001-01-01", "--to", "2002-01-01")
    assert result.exit_code == 1
    assert "the archive has nothing of that: see --from, --to" in result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_paced_replay_of_the_archive_is_ended_by_a_signal_and_tells_what_it_wrote(
    number: signal.Signals, code: int, kafka: Any, clickhouse: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", clickhouse.url)
    monkeypatch.setenv("STOCKSTREAM_CLICKHOUSE_DATABASE", "replay_" + prefix.rstrip("."))
    asyncio.run(archive(clickhouse.url, "replay_" + prefix.rstrip("."), f"{prefix}yfinance"))
    topic = f"replay-{prefix}yfinance"
    kafka.topics.create(topic, 3)
    span = ["--from", str(T0_MS - 1), "--to", str(T0_MS + 86_400_000)]
    arguments = [sys.executable, "-m", "stockstream", "replay", *span, "--speed", "10"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: sum(kafka.topics.end_offsets(topic).values()) > 2, 60, "the first ticks")
            process.send_signal(number)
            told, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # the pause in the middle would last for a minute
    assert process.returncode == code, errors
    written = sum(kafka.topics.end_offsets(topic).values())
    assert 2 < written < len(recording())
    assert f"{written} of {written} ticks written to {topic}" in told
    assert "interrupted" in told
    assert "Traceback" not in errors
    assert "[" not in errors  # no bar in a pipe


async def archive(url: str, database: str, topic: str) -> list[Tick]:
    """What is recorded, as if it had been received live."""
    sink = ClickHouseSink(url, database=database)
    await sink.start()
    rows = sorted(recording(), key=lambda row: row.get("received_ms", row["event_ms"]))
    ticks = [
        Tick(
            row["symbol"], row["event_ms"], row.get("price", 0.0), row.get("size", 0.0), kind=row.get("kind", "trade"),
            trade_id=row.get("trade_id", -1), producer_timestamp=row.get("received_ms", row["event_ms"]),
            until=row.get("until_ms"), cause=row.get("cause"),
        )
        for row in rows
    ]  # fmt: skip
    await sink.insert_ticks([ArchivedTick(tick, Verdict.ACCEPTED, topic, 0, n) for n, tick in enumerate(ticks)])
    await sink.close()
    return ticks


def test_an_archive_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", f"chdb://{tmp_path}/nowhere")
    result = run("replay", "--from", "2025-01-01", "--to", "2025-01-02")
    assert result.exit_code == 1
    assert "nowhere is no folder: set CLICKHOUSE_URL to where candles were kept" in result.stderr
    assert result.stderr.count("\n") == 1
