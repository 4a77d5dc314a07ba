"""A worker whose sources lack their keys says so at once, whatever servers it has to wait for besides."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stockstream.sources.ssi.fake import FakeSsi
from stockstream.testing.system import WorkerProcess
from stockstream.testing.wait import wait_until, wait_until_async

NO_KAFKA = "no Kafka broker answers at 127.0.0.1:1"


@contextmanager
def without_kafka(folder: Path, **environment: str) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(
        folder,
        "w0",
        {
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "STOCKSTREAM_SINK_ENABLED": "false",
            "STOCKSTREAM_START_TIMEOUT_S": "60",
            **environment,
        },
    )
    worker.start()
    try:
        yield worker
    finally:
        worker.kill()


def errors(worker: WorkerProcess) -> list[str]:
    """What a worker said, without times, up to what is to be done."""
    said = re.findall(r"^\[.*?\] \[\d+\] \[ERROR\] (.*)$", worker.log.read_text(), re.MULTILINE)
    return [line.partition(": ")[0] for line in said]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FINNHUB_API_TOKEN", "SSI_CONSUMER_ID", "SSI_CONSUMER_SECRET", "SYMBOLS"):
        monkeypatch.delenv(name, raising=False)


def test_keys_that_are_missing_are_told_before_kafka(tmp_path: Path) -> None:
    with without_kafka(tmp_path, SYMBOLS="AAPL,FINNHUB:AAPL,SSI:VCB", SSI_CONSUMER_ID="an-id") as worker:
        wait_until(lambda: any(NO_KAFKA in line for line in errors(worker)), 60, "Kafka to be missed")
        told = errors(worker)
    assert told[:2] == [
        "finnhub needs an API key, a free one will do",
        "ssi needs the consumer id and secret of FastConnect Data",
    ]
    assert NO_KAFKA in told[2]
    assert len(told) == 3


@pytest.mark.parametrize(
    "environment",
    [{"SYMBOLS": "AAPL"}, {"SYMBOLS": "FINNHUB:AAPL", "STOCKSTREAM_INGEST_ENABLED": "false"}],
)
def test_keys_that_are_not_needed_are_not_missed(environment: dict[str, str], tmp_path: Path) -> None:
    with without_kafka(tmp_path, **environment) as worker:
        wait_until(lambda: errors(worker), 60, "Kafka to be missed")
        told = errors(worker)
    assert len(told) == 1
    assert NO_KAFKA in told[0]


async def test_a_key_that_ssi_refuses_is_told_while_kafka_is_away(tmp_path: Path) -> None:
    async with FakeSsi(["VCB"], lambda: time.time_ns() // 1_000_000) as venue:
        environment = {
            "SYMBOLS": "SSI:VCB",
            "STOCKSTREAM_SSI_URL": venue.url,
            "STOCKSTREAM_SSI_API_URL": venue.url,
            "SSI_CONSUMER_ID": venue.consumer[0],
            "SSI_CONSUMER_SECRET": "gl4ss-k3y",
        }
        refused = "SSI refuses the consumer id and secret (Wrong consumerID or consumerSecret)"
        with without_kafka(tmp_path, **environment) as worker:
            await wait_until_async(lambda: refused in errors(worker), 60, "the refusal to be told")
            assert "gl4ss-k3y" not in worker.log.read_text()
        assert (venue.tokens_given, venue.accepted) == (0, 0)
