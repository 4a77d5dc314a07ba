"""A new version of a library may change without a word what we override or count on.

That is so in `broker/transport.py`, `broker/client_thread.py` and `broker/stores.py` (Faust, aiokafka, rocksdict),
`broker/recovery.py` and `faust_app.py` (Faust), `broker/lean_fetch.py`, `broker/coordination.py`, `broker/lease.py`,
`broker/leaving.py` and `broker/link.py` (aiokafka), and `sources/stream.py` (websockets).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from importlib.metadata import version
from typing import Any

import pytest
import rocksdict

DRIVER = "faust.transport.drivers.aiokafka:"
CONSUMER = "faust.transport.consumer:"
RECOVERY = "faust.tables.recovery:Recovery."
STORE = "faust.stores.rocksdb:Store."
GROUP = "aiokafka.consumer.group_coordinator:GroupCoordinator."
FETCHER = "aiokafka.consumer.fetcher:"
ACCUMULATOR = "aiokafka.producer.message_accumulator:"
CONNECTION = "aiokafka.conn:AIOKafkaConnection."
WEB = "faust.web.drivers.aiohttp:Web."
SOCKET = "websockets.asyncio.connection:Connection."

PINNED = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0", "websockets": "17.4"}

KNOWN = [
    # (name, hash of its source, what of ours to read beside it)
    (DRIVER + "AIOKafkaConsumerThread.on_start", "38b4e8bd1e10", "ClientThread.on_start"),
    (DRIVER + "AIOKafkaConsumerThread._create_worker_consumer", "c2701bfc3e6f", "ClientThread._create_worker_consumer"),
    (DRIVER + "AIOKafkaConsumerThread._fetch_records", "39a2c6c79fc1", "ClientThread._fetch_records"),
    (DRIVER + "AIOKafkaConsumerThread.getmany", "26fc5fc9f3b6", "ClientThread.getmany"),
    (DRIVER + "AIOKafkaConsumerThread._seek_wait", "9d221e816d94", "read_again"),
    (DRIVER + "AIOKafkaConsumerThread.assignment", "61f105132ae6", "ClientThread.assignment"),
    (DRIVER + "AIOKafkaConsumerThread.highwater", "6f7dbe109ae6", "is_caught_up"),
    (DRIVER + "ConsumerRebalanceListener.on_partitions_assigned", "1c1f8406ad36", "_Gate: when the generation changes"),
    (DRIVER + "AIOKafkaConsumerThread.on_thread_stop", "8dfc004e258b", "ClientThread.on_thread_stop"),
    (DRIVER + "AIOKafkaConsumerThread.close", "d22efc59a1df", "ClientThread.close"),
    (DRIVER + "Consumer._new_consumer_thread", "0870ec53dea7", "BatchConsumer._new_consumer_thread"),
    (DRIVER + "Consumer._to_message", "7c24f6511b2f", "BatchConsumer.getmany"),
    (DRIVER + "Producer.on_start", "219c9a7a785d", "_Producer.on_start"),
    (DRIVER + "Producer.flush", "36d0cb3615f6", "send_records: a commit waits for what it has sent"),
    (CONSUMER + "Consumer.perform_seek", "0e8c130ff4b0", "BatchConsumer.perform_seek"),
    (CONSUMER + "Consumer.getmany", "4b168d84882a", "BatchConsumer.getmany"),
    (CONSUMER + "Consumer._wait_next_records", "6218e1969a63", "BatchConsumer._wait_next_records"),
    (CONSUMER + "Consumer._drain_messages", "44a2500309e8", "BatchConsumer.getmany: what is done with a message"),
    (CONSUMER + "Consumer._new_offset", "1d2c7ea89a7a", "BatchConsumer._new_offset"),
    (CONSUMER + "Consumer._add_gap", "4df2573ded7c", "BatchConsumer._new_offset: no gaps are kept for sources"),
    (CONSUMER + "Consumer._get_active_partitions", "b24897f3c7af", "_Gate"),
    (CONSUMER + "Consumer.ack", "5fcf41cf4515", "BatchConsumer._new_offset and work_off"),
    (CONSUMER + "Consumer._filter_committable_offsets", "dc5e9baf5d99", "BatchConsumer._new_offset"),
    (CONSUMER + "Consumer._commit_offsets", "1a6979904118", "BatchConsumer._commit_offsets and _commit: flushes"),
    (CONSUMER + "Consumer.wait_empty", "e4662fe24f09", "work_off"),
    (CONSUMER + "Consumer.on_partitions_revoked", "d04b7ae72c6f", "BatchConsumer.perform_seek"),
    (CONSUMER + "Consumer.on_partitions_assigned", "29ce96596f05", "BatchConsumer.on_partitions_assigned"),
    (CONSUMER + "ConsumerThread.on_partitions_revoked", "c44013f1259c", "ClientThread.on_partitions_revoked"),
    (CONSUMER + "ThreadDelegateConsumer._getmany", "f9d47aa9010b", "BatchConsumer._wait_next_records"),
    (CONSUMER + "ThreadDelegateConsumer._commit", "a20eec84e4b2", "BatchConsumer._commit"),
    ("faust.app.base:App.on_rebalance_end", "b7ff69e1e377", "install: when the gate opens"),
    ("faust.app.base:App._on_rebalance_when_stopped", "1b172d9af8ff", "ClientThread.close: who calls it"),
    ("faust.app.base:App._on_partitions_revoked", "d5c895bbe57d", "work_off: what a rebalance waits for"),
    ("faust.app.base:App._on_partitions_assigned", "de932b7927db", "_Gate"),
    ("mode.utils.queues:FlowControlEvent.resume", "4dcdc1253fd0", "_Gate: it clears the queues"),
    (RECOVERY + "_slurp_changelogs", "7825c7e50f76", "absorb: it takes this one's place"),
    (RECOVERY + "_restart_recovery", "6bd8a8558a2d", "absorb: who waits for it, and recovery.py: _wait's errors"),
    (RECOVERY + "_set_recovery_started", "bcfebf81ae13", "BulkRecovery: right before each end is waited for"),
    (RECOVERY + "_wait", "ec7429b70176", "BulkRecovery._wait takes its place"),
    ("mode.services:Service.wait_first", "feade6a31f8a", "BulkRecovery._wait: what a time-out looks like"),
    (RECOVERY + "on_recovery_completed", "6ef567acf072", "_Gate: seek, clear, then on_rebalance_end"),
    (RECOVERY + "on_rebalance", "aa4d997a1795", "absorb: active_tps, standby_tps"),
    (RECOVERY + "_add", "1584a197b11b", "absorb: the offsets begin with the store's own"),
    (RECOVERY + "need_recovery", "fd1dc345b5d5", "absorb"),
    (RECOVERY + "standby_remaining_total", "15bd44e3a39b", "absorb"),
    (RECOVERY + "_set_recovery_ended", "84badf3f2cfe", "absorb"),
    ("faust.tables.manager:TableManager.on_standbys_ready", "46be52cea696", "absorb"),
    (
        "faust.tables.manager:TableManager.on_start",
        "365dd25fbc0e",
        "partitions_without_rows: how a subscription can lack them",
    ),
    (
        "faust.assignor.partition_assignor:PartitionAssignor._perform_assignment",
        "1e0bf2c5c8f4",
        "partitions_without_rows",
    ),
    ("faust.assignor.partition_assignor:PartitionAssignor.assigned_actives", "cd131e593509", "partitions_without_rows"),
    (STORE + "_db_for_partition", "cb7e67d5f9ef", "PartitionStore"),
    (STORE + "persisted_offset", "6f2e502fb860", "PartitionStore.advance"),
    (STORE + "set_persisted_offset", "b4c811926678", "PartitionStore.write: the same key and format"),
    (STORE + "apply_changelog_batch", "ea3344d369fc", "PartitionStore.write"),
    (STORE + "revoke_partitions", "3f85447a24fc", "PartitionStore.advance: a store that was let go"),
    ("faust.stores.base:SerializedStore._encode_key", "70702b179cc3", "tables/rows.py: encode_key"),
    (GROUP + "_do_heartbeat", "dc1d6632aaa6", "watch_heartbeats"),
    (GROUP + "_do_rejoin_group", "3cb016c98a08", "watch_heartbeats"),
    (GROUP + "request_rejoin", "f70a261c91c3", "_rejoin"),
    (GROUP + "ensure_coordinator_known", "4dfb9ccd877a", "look_again_for_coordinator: what it does with the error"),
    (GROUP + "_coordination_routine", "75273e127d4a", "watch_membership: how it ends"),
    ("aiokafka.client:AIOKafkaClient.coordinator_lookup", "19cc69fb75f8", "look_again_for_coordinator"),
    (GROUP + "close", "f30d83108945", "stop_and_leave"),
    (GROUP + "need_rejoin", "61ae72b2a311", "stop_and_leave"),
    (GROUP + "ensure_active_group", "33c84c1a9301", "stop_and_leave: what follows the revocation"),
    (GROUP + "_maybe_leave_group", "016cd88a16e6", "stop_and_leave: what it does when nothing is joined"),
    (GROUP + "_heartbeat_routine", "61d010289522", "watch_heartbeats: who calls it"),
    ("aiokafka.client:AIOKafkaClient.send", "246b277687d7", "_FetchClient: any group is a connection of its own"),
    ("aiokafka.client:AIOKafkaClient._get_conn", "68ce5d839171", "_FetchClient: any group is a connection of its own"),
    (FETCHER + "Fetcher.fetched_records", "be4348896b9b", "_Gate: how partitions are asked for"),
    (FETCHER + "Fetcher._get_actions_per_node", "1dab2cf937d1", "_FetchClient: when a request is made"),
    (FETCHER + "Fetcher._proc_fetch_request", "59bf948fff47", "read_lean: the names that it looks up"),
    (FETCHER + "FetchResult.getall", "3e717e30de50", "_positions and _FetchedRecords: moved with what is taken"),
    (FETCHER + "FetchResult.check_assignment", "b5340df67e3f", "_FetchedRecords"),
    (FETCHER + "FetchResult._update_position", "83fb1473bf10", "_FetchedRecords"),
    (FETCHER + "PartitionRecords.__init__", "8ec1c2ae6ea1", "_FetchedRecords: the same arguments"),
    (FETCHER + "PartitionRecords._unpack_records", "b803e6d46480", "read_records: what is passed, and the position"),
    ("aiokafka.consumer.subscription_state:TopicPartitionState", "2b83334afadf", "_positions"),
    ("aiokafka.consumer.consumer:AIOKafkaConsumer.start", "2f1ba7044332", "ClientThread: fetch_max_bytes is read here"),
    ("aiokafka.producer.sender:Sender._send_produce_req", "aea01ae4b6c7", "guard_sends"),
    ("aiokafka.producer.producer:AIOKafkaProducer.create_batch", "c4efda4bb7a0", "send_records"),
    ("aiokafka.producer.producer:AIOKafkaProducer.send_batch", "bf42b0f0c5c0", "send_records"),
    (ACCUMULATOR + "MessageAccumulator.add_batch", "5ed1c5b1367a", "send_records: it waits for the batch before"),
    (ACCUMULATOR + "BatchBuilder.append", "657d76f55157", "send_records: None means full"),
    (CONNECTION + "connect", "b0f9ba7f0cf6", "Link.open: what is set up, and what is taken over"),
    (CONNECTION + "_create_reader_task", "9577a6e84c72", "Link.open: it is cancelled"),
    (CONNECTION + "_do_version_lookup", "f163772b18ad", "Link.open: _versions"),
    (CONNECTION + "close", "28f164aa1e4f", "Link.close"),
    (CONNECTION + "_on_read_task_error", "b77014588488", "Link.open: what a cancelled reader does"),
    ("aiokafka.conn:AIOKafkaProtocol.connection_lost", "4086ca76bc15", "Link.connection_lost"),
    ("aiokafka.consumer.consumer:AIOKafkaConsumer.start", "2f1ba7044332", "agents/sink_reader.py: before any fetch"),
    (SOCKET + "data_received", "19c5a13dd8eb", "sources/stream.py: what is left to the parser goes there"),
    (SOCKET + "connection_lost", "ed34a9b75ab3", "sources/stream.py: FrameStream.connection_lost"),
    (SOCKET + "recv", "23199c9dbd0d", "sources/stream.py: FrameStream.receive takes its place until then"),
    ("websockets.asyncio.client:ClientConnection.process_event", "047114e631b5", "sources/stream.py: response is set"),
    (WEB + "__init__", "52b00c1bd653", "faust_app.py: serve_impatiently makes the runner anew"),
    (WEB + "start_server", "b0c4f1049182", "faust_app.py: serve_impatiently"),
]


@pytest.mark.parametrize(("package", "tried"), PINNED.items())
def test_versions_are_the_ones_that_ours_was_written_for(package: str, tried: str) -> None:
    assert version(package) == tried, f"{package} changed: go through what counts on it before changing the pin"


def test_rocksdict_is_of_the_series_that_was_tried() -> None:
    assert version("rocksdict").startswith("0.3.")


@pytest.mark.parametrize(("name", "known", "ours"), KNOWN, ids=[name for name, _, _ in KNOWN])
def test_source_is_the_one_that_ours_was_written_for(name: str, known: str, ours: str) -> None:
    found = hashlib.sha256(inspect.getsource(resolve(name)).encode()).hexdigest()[:12]
    assert found == known, f"{name} changed: read it again beside {ours} (in broker/, if not said); then record {found}"


def test_attributes_are_where_transport_looks_for_them(faust_app: Any) -> None:
    recovery, tables = faust_app.tables.recovery, faust_app.tables
    missing = [
        f"{type(owner).__name__}.{name}"
        for owner, names in (
            (recovery, "active_tps standby_tps active_offsets standby_offsets in_recovery signal_recovery_end"),
            (tables, "_changelogs _recovery standbys_ready changelog_topics beacon"),
            (faust_app, "rebalancing consumer_generation_id monitor crash"),
        )
        for name in names.split()
        if not hasattr(owner, name)
    ]
    assert missing == []


def test_rocksdict_has_what_the_stores_use() -> None:
    assert {"put", "delete"} <= set(dir(rocksdict.WriteBatch(raw_mode=True)))
    assert {"get", "items", "write"} <= set(dir(rocksdict.Rdict))


def resolve(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part, None)
        assert found is not None, f"{name} is gone: read what counts on it beside the new version"
    return getattr(found, "fun", found)  # a method marked as a task of a service is wrapped
