"""`stockstream dead-letters`: what is there, what can be done about it, and a replay that counts once."""

from __future__ import annotations

import json
import math
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from stockstream.cli.main import main
from stockstream.models import Candle, Tick
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.system import System
from stockstream.testing.topics import Record

T0_MS = 1_700_000_100_000
LATE_MS = 900_001
PATIENCE_S = 180

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def system(kafka: KafkaCluster, registry: RegistryServer, clickhouse_server: ClickHouseFacade) -> Iterator[System]:
    with System(kafka.bootstrap, registry.url, clickhouse_server.url, partitions="2") as made:
        made.start(wait=False).wait_ready(PATIENCE_S)
        fill(made)
        made.wait_drained(PATIENCE_S)
        yield made


@pytest.fixture(autouse=True)
def environment(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", system.bootstrap)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", system.registry_url)
    monkeypatch.setenv("STOCKSTREAM_TOPIC_PREFIX", system.prefix)


def trade(symbol: str, number: int, received_ms: int = 0, **fields: Any) -> Tick:
    event_ms = T0_MS + number
    tick = Tick(symbol, event_ms, 1.0 + number, 2.0, trade_id=number, producer_timestamp=received_ms or event_ms)
    return replace(tick, **fields)


def fill(system: System) -> None:
    """Two good ticks; letters of five reasons."""
    encode, topic = system.encoder(), system.topic("yfinance")
    system.topics.produce(
        topic,
        [
            (b"AAPL", encode(trade("AAPL", 1))),
            (b"AAPL", encode(trade("AAPL", 5))),
            (b"AAPL", encode(trade("AAPL", 3, T0_MS + 3 + LATE_MS))),
            (b"AAPL", encode(trade("AAPL", 9, T0_MS + 9 + LATE_MS))),
            (b"MSFT", encode(trade("MSFT", 1, price=math.nan))),
            (b"MSFT", b"{not\x1b[31m json"),
            (b"MSFT", b"\0\xff\xff\xff\xff\x01\x02rest"),
            (b"MSFT", encode(trade("OTHER", 1))),
            (None, encode(trade("AAPL", 2))),
        ],
    )


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["dead-letters", *arguments], input=stdin)


def listed(*arguments: str) -> list[dict[str, Any]]:
    result = run("list", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def put_away(system: System, origin: str, reason: str, key: bytes | None, value: bytes | None) -> None:
    """A letter as a worker writes it, of a record that lay at ``origin``."""
    topic, partition, offset = origin.rsplit("-", 2)
    producer = Producer({"bootstrap.servers": system.bootstrap, "partitioner": "murmur2_random"})
    headers = {"topic": topic, "partition": partition, "offset": offset, "reason": reason, "error": "made by hand"}
    producer.produce(system.topic("dead-letters"), value, key, headers=headers)
    producer.flush(30)


def replayed(system: System, topic: str) -> list[Record]:
    return [record for record in system.topics.read(topic) if "dead-letter" in record.headers]


def test_the_list_has_every_letter_the_newest_first_and_filters_choose(system: System) -> None:
    letters = listed("--topic", system.topic("yfinance"))
    assert sorted(letter["reason"] for letter in letters) == [
        "bad price", "corrupt", "corrupt", "key mismatch", "late", "late", "no key",
    ]  # fmt: skip
    times = [letter["when_ms"] for letter in letters]
    assert times == sorted(times, reverse=True)
    assert {letter["key"] for letter in letters if letter["reason"] == "no key"} == {None}
    assert [letter["reason"] for letter in listed("--symbol", "AAPL")] == ["late", "late"]
    assert [letter["key"] for letter in listed("--reason", "bad price")] == ["MSFT"]
    assert listed("--topic", "elsewhere") == listed("--from", "2099-01-01") == listed("--to", "2020-01-01") == []
    assert listed("--from", str(times[-1]), "--to", str(times[0] + 1), "--topic", system.topic("yfinance")) == letters
    assert listed("--limit", "2") == listed()[:2]
    assert run("list", "--reason", "lte").exit_code == 2


def test_the_worker_counts_letters_by_reason(system: System) -> None:
    metrics = system.workers["w0"].metrics()
    counted = metrics["stockstream_dead_letters_total"]
    assert {reason: count for reason, count in counted.items() if count} == {
        "late": 2, "corrupt": 2, "no key": 1, "bad price": 1, "key mismatch": 1,
    }  # fmt: skip
    assert {"expired", "refused by the sink"} <= counted.keys()
    ticks = metrics["stockstream_ticks_total"]
    assert (ticks["accepted"], ticks["late"]) == (2, 2)
    assert metrics["stockstream_fetches_total"][system.topic("yfinance")] >= 1


def test_the_table_and_the_counts_are_to_be_read_by_people(system: System) -> None:
    result = run("list", "--symbol", "MSFT", "--topic", system.topic("yfinance"), "--limit", "3")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["when", "record", "key", "reason", "error"]
    assert len(lines) == 4
    assert all(f"{system.topic('yfinance')}-" in line and " MSFT " in line for line in lines[1:])
    assert result.stderr == "the newest 3 of 4: --limit shows more, --count how many by reason\n"
    counted = run("list", "--count", "--topic", system.topic("yfinance"))
    assert {tuple(line.split(maxsplit=1)) for line in counted.stdout.splitlines()} == {
        ("2", "late"), ("2", "corrupt"), ("1", "no key"), ("1", "bad price"), ("1", "key mismatch"), ("7", "in all"),
    }  # fmt: skip
    assert json.loads(run("list", "--count", "--json", "--symbol", "AAPL").stdout) == {"late": 2}
    nothing = run("list", "--symbol", "NONE")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "no dead letters\n")


def test_a_letter_is_shown_whole_with_what_to_do(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = listed("--reason", "late")[0]
    place = f"{newest['topic']}-{newest['partition']}-{newest['offset']}"
    of_record, of_letter = run("show", place), run("show", newest["letter"])
    assert of_record.exit_code == 0
    assert of_record.stdout == of_letter.stdout
    for told in ("price: 10.0", "trade_id: 9", "symbol: AAPL", "a rebuild", "late: it happened at", place):
        assert told in of_record.stdout
    by_error = {letter["error"]: letter["letter"] for letter in listed("--reason", "corrupt")}
    shown = {error[:7]: run("show", place).stdout for error, place in by_error.items()}
    assert "{not\\x1b[31m json" in shown["no JSON"]
    assert "\x1b" not in "".join(shown.values())
    assert "00 ff ff ff ff 01 02 72 65 73 74" in "".join(shown.values())
    assert run("show", f"{system.topic('yfinance')}-0-999999").exit_code == 1
    rubbish = run("show", "rubbish")
    assert rubbish.exit_code == 2
    assert "TOPIC-PARTITION-OFFSET" in rubbish.stderr
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://127.0.0.1:9")
    away = run("show", place)
    assert away.exit_code == 0
    assert "does not answer" in away.stdout


def test_what_can_never_succeed_is_refused_and_told_why(system: System) -> None:
    topic = system.topic("yfinance")
    before = system.topics.end_offsets(topic)
    put_away(system, f"{topic}-0-900", "expired", b"AAPL", system.encoder()(trade("AAPL", 7)))
    put_away(system, f"{system.prefix}gone-0-1", "corrupt", b"GONE", b'{"symbol":"GONE","price":1,"event_time":5}')
    put_away(system, f"{topic}-0-901", "refused by the sink", b"AAPL", system.encoder()(trade("AAPL", 7, trade_id=-1)))
    result = run("replay", "--yes")
    assert (result.exit_code, result.stdout) == (1, "")
    told = {line.split("(")[1].split(";")[0]: line for line in result.stderr.splitlines()}
    assert "would again: a rebuild" in told["late"]
    assert told["late"].startswith("refused 2 ")
    assert "a fragment" in told["expired"]
    assert "symbol must be the record's key" in told["no key"]
    assert "count twice" in told["refused by the sink"]
    assert any(f"topic {system.prefix}gone does not exist" in line for line in result.stderr.splitlines())
    assert system.topics.end_offsets(topic) == before
    assert f"{system.prefix}gone" not in system.topics.names()


def test_letters_that_can_succeed_by_now_are_replayed_once(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = system.topic("yfinance")
    late = listed("--reason", "late", "--symbol", "AAPL")
    arguments = ("replay", "--reason", "late", "--symbol", "AAPL")
    monkeypatch.setenv("STOCKSTREAM_ACCEPTED_LATENESS_S", "3600")
    system.kill("w0")
    system.start("w0", wait=False, accepted_lateness_s="3600").wait_ready(PATIENCE_S)
    dry = run(*arguments, "--dry-run")
    assert (dry.exit_code, dry.stdout) == (0, f"would replay 2 to {topic}\n")
    assert replayed(system, topic) == []
    assert run(*arguments, "--yes").stdout == "2 of 2 letters replayed\n"
    again = run(*arguments, "--yes")
    assert (again.exit_code, again.stdout) == (0, "2 replayed before\n")
    records = replayed(system, topic)
    originals = {
        f"{topic}-{each.partition}-{each.offset}": each
        for each in system.topics.read(topic)
        if "dead-letter" not in each.headers
    }
    assert len(records) == 2
    for record in records:
        place = record.headers["dead-letter"]
        original = originals[place.decode() if isinstance(place, bytes) else str(place)]
        assert (record.key, record.value, record.partition) == (original.key, original.value, original.partition)
    assert [int(letter["offset"]) for letter in reversed(late)] == sorted(int(letter["offset"]) for letter in late)
    system.wait_drained(PATIENCE_S)
    candle = system.candles_topic()["AAPL", "1m", "regular", T0_MS]
    assert (candle.trades, candle.high, candle.volume) == (4, 10.0, 8.0)


def test_a_schema_that_has_come_and_a_candle_that_the_sink_refused(system: System) -> None:
    """Each of these succeeds: its bytes are a tick by now, or a candle, of which the greatest version counts."""
    topic, candles = system.topic("yfinance"), system.topic("candles")
    value = system.encoder()(trade("SCHEMA", 1))
    put_away(system, f"{topic}-1-7000", "corrupt", b"SCHEMA", value)
    put_away(system, f"{topic}-1-7000", "corrupt", b"SCHEMA", value)  # sent again after a crash
    made = next(record for record in system.topics.read(candles) if record.key == b"AAPL")
    put_away(system, f"{candles}-{made.partition}-{made.offset}", "refused by the sink", made.key, made.value)
    assert run("replay", "--reason", "corrupt", "--symbol", "SCHEMA").stdout == "1 of 1 letters replayed\n"
    assert [(each.partition, each.value) for each in replayed(system, topic) if each.key == b"SCHEMA"] == [(1, value)]
    assert run("replay", "--topic", candles).stdout == "1 of 1 letters replayed\n"
    assert [each.value for each in replayed(system, candles)] == [made.value]
    system.wait_drained(PATIENCE_S)
    found: Candle = system.candles_topic()["SCHEMA", "1m", "regular", T0_MS]
    assert found.trades == 1


def test_an_empty_topic_and_servers_that_are_away(
    system: System, kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}."
    monkeypatch.setenv("STOCKSTREAM_TOPIC_PREFIX", prefix)
    missing = run("list")
    assert (missing.exit_code, missing.stdout, missing.stderr.count("\n")) == (1, "", 1)
    assert f"there is no topic {prefix}dead-letters" in missing.stderr
    kafka.topics.create(f"{prefix}dead-letters", 2)
    assert run("list").stderr == run("replay", "--yes").stderr == "no dead letters\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{taken.getsockname()[1]}")
        for arguments in (["list"], ["show", "a-0-1"], ["replay"]):
            result = run(*arguments)
            code = 2 if arguments == ["replay"] else 1  # whose 1 says that letters are refused
            assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (code, "", 1)
            assert "no Kafka broker answers" in result.stderr
