"""What a worker's settings become. Faust's form of the credentials is checked by what Faust hands to aiokafka."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth, server_list
from pydantic import SecretStr

from stockstream import faust_app as faust_app_module
from stockstream.adapters import connection_of
from stockstream.broker.connection import Connection
from stockstream.faust_app import MAX_WAITING_ANSWERS, credentials_of, faust_app, serve_impatiently
from stockstream.settings import Settings
from stockstream.testing.process import free_ports

SASL: dict[str, Any] = {"kafka_sasl_username": "app", "kafka_sasl_password": SecretStr("hidden")}
EQUAL = ("security_protocol", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password")


def app_of(**settings: Any) -> Any:
    return faust_app(Settings(**settings), faust.App, faust.Worker)


def test_every_setting_reaches_faust(tmp_path: Path) -> None:
    conf = app_of(
        app_id="mine",
        kafka_bootstrap_servers="one:9092, two:9093",
        data_dir=tmp_path,
        partitions=7,
        partition_fetch_bytes=123_456,
        commit_interval_s=2.5,
        session_timeout_s=20,
        heartbeat_interval_s=2,
        rebalance_timeout_s=15,
        instance_id="pod-3",
        standby_replicas=2,
        web_host="127.0.0.2",
        web_port=7070,
    ).conf
    assert conf.id == "mine"
    assert server_list(conf.broker, 9092) == ["one:9092", "two:9093"]
    assert conf.datadir == tmp_path / "mine"
    assert conf.topic_partitions == 7
    assert conf.consumer_max_fetch_size == 123_456
    assert conf.broker_max_poll_records is None  # a fetch is handed over whole
    assert conf.stream_buffer_maxsize == MAX_WAITING_ANSWERS
    assert (conf.broker_commit_interval, conf.broker_session_timeout) == (2.5, 20)
    assert (conf.broker_heartbeat_interval, conf.broker_rebalance_timeout) == (2, 15)
    assert conf.consumer_group_instance_id == "pod-3"
    assert conf.table_standby_replicas == 2
    assert (conf.web_bind, conf.web_port, str(conf.canonical_url)) == ("127.0.0.2", 7070, "http://127.0.0.2:7070")
    assert conf.broker_credentials is None


async def test_connections_that_come_to_no_request_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust_app_module, "_IDLE_S", 0.3)
    app = app_of(web_host="127.0.0.1", web_port=free_ports(1)[0])
    serve_impatiently(app)
    await app.web.start_server()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.conf.web_port)
        writer.write(b"GET /latest HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    finally:
        await app.web.stop_server()


def test_a_request_may_take_longer_than_the_session_which_faust_demands() -> None:
    conf = app_of(session_timeout_s=100).conf
    assert conf.broker_request_timeout > conf.broker_session_timeout


def test_a_worker_bound_to_every_address_is_known_by_its_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "worker-1")
    conf = app_of(web_host="0.0.0.0", web_port=7070).conf  # noqa: S104 - nothing is bound
    assert (conf.web_bind, str(conf.canonical_url)) == ("0.0.0.0", "http://worker-1:7070")  # noqa: S104


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_faust_logs_in_as_our_own_clients_do(protocol: Any, mechanism: Any) -> None:
    settings = Settings(kafka_security_protocol=protocol, kafka_sasl_mechanism=mechanism, **SASL)
    ours = connection_of(settings).aiokafka()
    theirs = credentials_to_aiokafka_auth(app_of(**settings.model_dump()).conf.broker_credentials)
    assert {name: theirs[name] for name in EQUAL} == {name: ours[name] for name in EQUAL}
    assert ours["sasl_plain_password"] == SASL["kafka_sasl_password"].get_secret_value()
    assert isinstance(theirs["ssl_context"], ssl.SSLContext) == (protocol == "SASL_SSL")


def test_tls_alone_verifies_the_broker() -> None:
    theirs = credentials_to_aiokafka_auth(credentials_of(Connection("one:9093", "SSL")))
    assert theirs["security_protocol"] == "SSL"
    assert theirs["ssl_context"].verify_mode is ssl.CERT_REQUIRED
