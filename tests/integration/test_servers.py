"""The servers that all other integration tests stand on do what those tests take for granted."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from schema_registry.client import SchemaRegistryClient
from schema_registry.client.errors import ClientError
from schema_registry.client.schema import AvroSchema

from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.jars import kafka_libs, registry_home
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.registry import RegistryServer
from stockstream.testing.wait import wait_until

ROWS = [[i, f"S{i % 3}", i / 7] for i in range(10)]
COLUMNS = ["id", "symbol", "price"]


def fresh(name: str) -> str:
    return f"{name}_{uuid.uuid4().hex[:8]}"


def record(*extra: dict[str, object]) -> AvroSchema:
    fields = [{"name": "symbol", "type": "string"}, *extra]
    return AvroSchema(json.dumps({"type": "record", "name": "Quote", "namespace": "test", "fields": fields}))


def test_kafka_gives_back_what_was_produced(kafka: KafkaCluster) -> None:
    topic = fresh("round-trip")
    kafka.topics.create(topic, partitions=3)
    sent = [(f"K{i % 7}".encode(), str(i).encode()) for i in range(1000)]
    kafka.topics.produce(topic, [*sent, (b"K1", None)])
    read = kafka.topics.read(topic)
    assert Counter((each.key, each.value) for each in read) == Counter([*sent, (b"K1", None)])
    assert sum(kafka.topics.end_offsets(topic).values()) == 1001
    for key in {key for key, _ in sent}:
        assert len({each.partition for each in read if each.key == key}) == 1
        values = [each.value for each in read if each.key == key and each.value is not None]
        assert values == [value for each, value in sent if each == key]
    kafka.topics.delete(topic)
    assert topic not in kafka.topics.names()


def test_kafka_writes_to_the_partition_that_is_asked_for(kafka: KafkaCluster) -> None:
    topic = fresh("placed")
    kafka.topics.create(topic, partitions=2)
    kafka.topics.produce(topic, [(b"K", b"1"), (None, b"2")], partition=1)
    assert [(each.partition, each.offset) for each in kafka.topics.read(topic)] == [(1, 0), (1, 1)]


def test_kafka_keeps_records_when_its_broker_crashes() -> None:
    with KafkaCluster(kafka_libs()) as cluster:
        cluster.topics.create("kept")
        cluster.topics.produce("kept", [(b"K", str(i).encode()) for i in range(100)])
        cluster.kill(0)
        cluster.start(0)
        assert [each.value for each in cluster.topics.read("kept")] == [str(i).encode() for i in range(100)]


def test_three_brokers_lose_one_and_take_it_back() -> None:
    with KafkaCluster(kafka_libs(), brokers=3) as cluster:
        cluster.topics.create("replicated", partitions=3)
        lost = cluster.topics.leader("replicated", 0)
        cluster.kill(lost)
        cluster.topics.produce("replicated", [(f"K{i}".encode(), b"x") for i in range(300)])
        cluster.start(lost)
        cluster.wait_in_sync()
        assert len({each.key for each in cluster.topics.read("replicated")}) == 300


def test_registry_refuses_an_incompatible_schema(registry: RegistryServer) -> None:
    client = SchemaRegistryClient(registry.url)
    subject = fresh("quotes") + "-value"
    first = client.register(subject, record())
    assert client.register(subject, record()) == first
    with pytest.raises(ClientError) as refused:
        client.register(subject, record({"name": "price", "type": "double"}))
    assert refused.value.http_code == 409
    assert client.register(subject, record({"name": "price", "type": "double", "default": 0.0})) != first
    assert SchemaRegistryClient(registry.url).get_by_id(first) == record()


def test_registry_keeps_subjects_when_it_restarts() -> None:
    with RegistryServer(registry_home()) as server:
        written = SchemaRegistryClient(server.url).register("kept-value", record())
        server.stop()
        server.start()
        assert SchemaRegistryClient(server.url).get_by_id(written) == record()
        folder = server._root
        assert list(folder.glob("*brotli*")), "what its libraries unpack"
    assert not folder.exists()


@pytest.fixture
def client(clickhouse: ClickHouseFacade) -> Iterator[Client]:
    with clickhouse_connect.get_client(
        host=clickhouse.host, port=clickhouse.port, connect_timeout=2, send_receive_timeout=2, query_retries=0
    ) as client:
        client.command("CREATE DATABASE IF NOT EXISTS servers")
        yield client


@pytest.fixture
def table(client: Client) -> str:
    """A plain MergeTree: every row that arrives is counted, twice if it comes twice."""
    name = f"servers.{fresh('t')}"
    client.command(f"CREATE TABLE {name} (id UInt64, symbol String, price Float64) ENGINE = MergeTree ORDER BY id")
    return name


def count(client: Client, table: str) -> int:
    return int(client.query(f"SELECT count() FROM {table}").result_rows[0][0])


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_clickhouse_gives_back_what_was_inserted(
    clickhouse: ClickHouseFacade, table: str, compress: str | bool
) -> None:
    with clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port, compress=compress) as client:
        assert client.insert(table, ROWS, column_names=COLUMNS).written_rows == len(ROWS)
        found = client.query(
            f"SELECT * FROM {table} WHERE symbol = {{s:String}} ORDER BY id", parameters={"s": "S1"}
        ).result_rows
        assert found == [tuple(row) for row in ROWS if row[1] == "S1"]


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_clickhouse_takes_every_block_of_a_large_insert(
    clickhouse: ClickHouseFacade, table: str, compress: str | bool
) -> None:
    rows = [[i, "S" * 1000, 0.5] for i in range(5000)]  # which the driver sends in blocks of about two megabytes
    with clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port, compress=compress) as client:
        assert client.insert(table, rows, column_names=COLUMNS).written_rows == len(rows)
        assert count(client, table) == len(rows)


def test_clickhouse_settings_last_for_their_query_only(client: Client) -> None:
    sql = "SELECT getSetting('max_threads')"
    before = client.query(sql).result_rows
    assert client.query(sql, settings={"max_threads": 7}).result_rows == [(7,)]
    assert [client.query(sql).result_rows for _ in range(8)] == [before] * 8


def test_clickhouse_errors_carry_their_code(client: Client, table: str) -> None:
    with pytest.raises(DatabaseError, match="code: 60"):
        client.query("SELECT 1 FROM servers.absent")
    with pytest.raises(DatabaseError, match="code: 47"):
        client.query(f"SELECT absent FROM {table}")


async def test_clickhouse_serves_the_async_client(clickhouse: ClickHouseFacade, client: Client, table: str) -> None:
    async with await clickhouse_connect.get_async_client(host=clickhouse.host, port=clickhouse.port) as other:
        await other.insert(table, ROWS, column_names=COLUMNS)
    assert count(client, table) == len(ROWS)


@pytest.mark.parametrize(("mode", "code"), [("500", 1000), ("memory", 241), ("parts", 252)])
def test_a_fault_that_the_server_reports_inserts_nothing(
    clickhouse: ClickHouseFacade, client: Client, table: str, mode: str, code: int
) -> None:
    clickhouse.fault(mode, match=f"INSERT INTO {table}")
    with pytest.raises(DatabaseError, match=f"code: {code}"):
        client.insert(table, ROWS, column_names=COLUMNS)
    assert count(client, table) == 0
    client.insert(table, ROWS, column_names=COLUMNS)
    assert count(client, table) == len(ROWS)


def test_a_lost_reply_doubles_the_rows_because_the_driver_sends_again(
    clickhouse: ClickHouseFacade, client: Client, table: str
) -> None:
    clickhouse.fault("lost", match="insert")
    client.insert(table, ROWS, column_names=COLUMNS)
    assert count(client, table) == 2 * len(ROWS)


def test_a_connection_reset_before_the_insert_is_hidden_by_the_driver(
    clickhouse: ClickHouseFacade, client: Client, table: str
) -> None:
    clickhouse.fault("reset", match="insert")
    client.insert(table, ROWS, column_names=COLUMNS)
    assert count(client, table) == len(ROWS)


def test_a_hanging_server_times_out_and_inserts_nothing(
    clickhouse: ClickHouseFacade, client: Client, table: str
) -> None:
    clickhouse.fault("hang", match="insert")
    with pytest.raises(OperationalError):
        client.insert(table, ROWS, column_names=COLUMNS)
    assert count(client, table) == 0


def test_a_slow_server_inserts_although_the_client_has_given_up(
    clickhouse: ClickHouseFacade, client: Client, table: str
) -> None:
    clickhouse.fault("slow", match="insert")
    with pytest.raises(OperationalError):
        client.insert(table, ROWS, column_names=COLUMNS)
    assert count(client, table) == 0
    clickhouse.clear()
    wait_until(lambda: count(client, table) == len(ROWS), 10, "the insert to be carried out")


def test_a_refusing_server_is_back_when_the_fault_is_cleared(
    clickhouse: ClickHouseFacade, client: Client, table: str
) -> None:
    clickhouse.fault("refuse")
    with pytest.raises(OperationalError):
        client.insert(table, ROWS, column_names=COLUMNS)
    clickhouse.clear()
    assert count(client, table) == 0


def test_a_refusing_server_is_back_by_itself(clickhouse: ClickHouseFacade, client: Client, table: str) -> None:
    clickhouse.fault("refuse", seconds=0.1)
    wait_until(client.ping, 10, "the port to open again")
    assert count(client, table) == 0


def test_clickhouse_keeps_acknowledged_rows_when_it_crashes() -> None:
    with ClickHouseFacade() as server:
        with clickhouse_connect.get_client(host=server.host, port=server.port) as client:
            client.command("CREATE DATABASE kept")
            client.command("CREATE TABLE kept.t (id UInt64) ENGINE = MergeTree ORDER BY id")
            client.insert("kept.t", [[1], [2]], column_names=["id"])
        server.kill()
        server.start()
        with clickhouse_connect.get_client(host=server.host, port=server.port) as client:
            assert count(client, "kept.t") == 2
