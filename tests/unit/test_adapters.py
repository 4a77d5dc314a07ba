"""What settings become, for workers and commands alike."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stockstream.adapters import connection_of, feed_of, registry_of, rules_of, sink_of, tick_producer, tick_schema_of
from stockstream.errors import SettingsError
from stockstream.models import TICK_SCHEMA_V1, TICK_SCHEMA_V2, Tick, Verdict
from stockstream.settings import Settings
from stockstream.sources.catalog import SOURCES


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_a_wrong_setting(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"KAFKA_SSL_CA_FILE is .*ca\.pem") as caught:
        connection_of(Settings(kafka_security_protocol="SSL", kafka_ssl_ca_file=file))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


async def test_the_registry_and_kafka_are_known_by_names_without_secrets() -> None:
    settings = Settings(
        schema_registry_url="http://registry:8081",
        schema_registry_username="app",
        schema_registry_password=SecretStr("hidden"),
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="app",
        kafka_sasl_password=SecretStr("hidden"),
    )
    registry = registry_of(settings)
    assert registry.name == "registry:8081"
    assert connection_of(settings).sasl_password == "hidden"  # noqa: S105 - made up here
    assert "hidden" not in f"{registry!r}{connection_of(settings)!r}"
    await registry.close()


def test_feeds_with_hours_are_given_the_users_calendars(tmp_path: Path) -> None:
    (tmp_path / "XNYS.toml").write_text('[holidays]\n2026-11-20 = "closed after a storm"\n')
    at_ms = 1_795_186_800_000  # 2026-11-20 15:00 UTC
    for settings, is_open in ((Settings(), True), (Settings(calendars=tmp_path), False)):
        feed = feed_of(settings, SOURCES["yahoo"])
        feed.subscribe(["AAPL"], at_ms)
        assert feed.is_open(at_ms) is is_open
    feed_of(Settings(calendars=tmp_path), SOURCES["ssi"])


def test_the_schema_is_the_version_that_is_set() -> None:
    assert (tick_schema_of(Settings(tick_schema=1)), tick_schema_of(Settings())) == (TICK_SCHEMA_V1, TICK_SCHEMA_V2)


def test_every_setting_reaches_the_producer() -> None:
    made: list[dict[str, Any]] = []

    class Producer:
        def __init__(self, *given: Any, **options: Any) -> None:
            made.append({"given": given, **options})

    settings = Settings(
        producer_linger_ms=2.5,
        producer_compression="zstd",
        producer_buffer_ticks=10,
        producer_shed_after_s=0,
        producer_batch_bytes=2000,
        producer_acks="1",
        log_every_ticks=100,
    )
    connection = connection_of(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stockstream.adapters.TickProducer", Producer)
        tick_producer(settings, connection, "ticks", encode, now_ms)
        tick_producer(Settings(), connection, "ticks", encode, now_ms, shed_after_s=inf)
    given = {"given": (connection, "ticks", encode), "now_ms": now_ms}
    assert made == [
        {
            **given, "linger_ms": 2.5, "compression": "zstd", "buffer_ticks": 10, "shed_after_s": 0,
            "batch_bytes": 2000, "acks": "1", "log_every_ticks": 100,
        },
        {
            **given, "linger_ms": 4.0, "compression": None, "buffer_ticks": 50_000, "shed_after_s": inf,
            "batch_bytes": 400_000, "acks": "all", "log_every_ticks": 0,
        },
    ]  # fmt: skip


def encode(tick: Tick) -> bytes:
    return b""


def now_ms() -> int:
    return 0


async def test_the_sink_is_known_by_a_name_without_secrets() -> None:
    sink = sink_of(
        Settings(clickhouse_url="http://store:8123", clickhouse_user="app", clickhouse_password=SecretStr("hidden"))
    )
    assert "hidden" not in repr(sink)
    await sink.close()


def test_rules_count_in_milliseconds() -> None:
    rules = rules_of(
        Settings(
            accepted_lateness_s=10, future_tolerance_s=5, feed_delay_s={"VSE": 900}, close_delay_s=2.5,
            retention_s=3600, epoch=3,
        )
    )  # fmt: skip
    assert (rules.close_delay_ms, rules.retention_ms, rules.epoch) == (2500, 3_600_000, 3)

    def verdict(received_after_ms: int, exchange: str = "NMS") -> Verdict:
        at_ms = 1_700_000_000_000
        return rules.policy.judge(
            Tick("A", at_ms, 1.0, 1.0, producer_timestamp=at_ms + received_after_ms, exchange=exchange)
        )

    assert verdict(10_000) is verdict(910_000, "VSE") is verdict(-5_000) is Verdict.ACCEPTED
    assert verdict(10_001) is verdict(910_001, "VSE") is Verdict.LATE
    assert verdict(-5_001) is Verdict.FUTURE
