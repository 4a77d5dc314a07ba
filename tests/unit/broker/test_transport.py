from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition
from faust.types import TP

from stockstream.broker import transport
from stockstream.broker.client_thread import ANSWER_FETCHES, ClientThread
from stockstream.broker.pace import AT_ONCE, Pace
from stockstream.broker.taken import Fetch
from stockstream.broker.transport import (
    active_partitions,
    committed_offset,
    is_caught_up,
    is_ours,
    is_settled,
    owner_url,
    read_again,
    sought_offset,
    work_off,
)
from stockstream.models.records import Records

SOURCE = TP("ticks", 0)
OTHER = TP("ticks", 1)
CHANGES = TP("unit-latest-changelog", 0)

MakeRecord = Callable[..., Any]


def client(positions: dict[TP, int | None] | None = None) -> Any:
    """An aiokafka consumer as far as it has these partitions, and where it reads them."""
    state = SubscriptionState()
    state.subscribe(topics={"ticks"})
    state.assign_from_subscribed(set(positions or {}))
    for tp, at in (positions or {}).items():
        if at is not None:
            state.seek(tp, at)
    return SimpleNamespace(_subscription=state, _fetcher=SimpleNamespace())


class TestGate:
    def test_is_never_empty_to_aiokafka(self, batched: Any) -> None:
        assert bool(transport._Gate(batched.consumer))  # an empty set would mean all partitions

    def test_lets_sources_pass_in_the_generation_that_was_positioned(self, batched: Any) -> None:
        gate = transport._Gate(batched.consumer)
        assert SOURCE in gate
        batched.consumer_generation_id = 2
        assert SOURCE not in gate
        batched.consumer.open_generation = 2
        assert SOURCE in gate

    def test_keeps_out_what_is_paused(self, batched: Any) -> None:
        batched.consumer.pause_partitions({SOURCE})
        assert SOURCE not in transport._Gate(batched.consumer)

    def test_lets_changelogs_pass_during_recovery(self, batched: Any) -> None:
        batched.consumer._set_active_tps({CHANGES})
        batched.consumer.open_generation = None
        assert CHANGES in transport._Gate(batched.consumer)

    async def test_opens_when_the_rebalance_has_ended_and_not_when_it_was_positioned(self, batched: Any) -> None:
        batched.consumer_generation_id = 2
        batched.consumer._thread.committed = {SOURCE: 7}
        await batched.consumer.perform_seek()
        assert SOURCE not in transport._Gate(batched.consumer)
        batched.on_rebalance_start()
        batched.on_rebalance_end()
        assert SOURCE in transport._Gate(batched.consumer)

    async def test_stays_shut_when_another_rebalance_came_while_positioning(self, batched: Any) -> None:
        async def seek() -> dict[TP, int]:
            batched.consumer_generation_id = 3
            return {SOURCE: 7}

        batched.consumer_generation_id = 2
        batched.consumer._thread.seek_to_committed = seek
        await batched.consumer.perform_seek()
        batched.on_rebalance_start()
        batched.on_rebalance_end()
        assert SOURCE not in transport._Gate(batched.consumer)

    async def test_stays_shut_when_the_partitions_went_while_positioning(self, batched: Any) -> None:
        async def seek() -> dict[TP, int]:
            raise IllegalStateError("no current assignment")

        batched.consumer_generation_id = 2
        batched.consumer._thread.seek_to_committed = seek
        await batched.consumer.perform_seek()
        batched.on_rebalance_start()
        batched.on_rebalance_end()
        assert SOURCE not in transport._Gate(batched.consumer)

    async def test_stays_shut_while_the_group_is_joined_although_a_recovery_ends(self, batched: Any) -> None:
        batched.consumer._on_partitions_revoked = AsyncMock()
        batched.consumer._on_partitions_assigned = AsyncMock()
        batched.on_rebalance_start()
        await batched.consumer.on_partitions_revoked({SOURCE})
        batched.consumer._set_active_tps({SOURCE})
        await batched.consumer.perform_seek()  # what was begun for the partitions assigned before
        batched.on_rebalance_end()
        assert SOURCE not in transport._Gate(batched.consumer)
        assert not is_settled(batched)
        batched.consumer_generation_id = 2
        await batched.consumer.on_partitions_assigned({SOURCE}, 2)
        await batched.consumer.perform_seek()
        batched.on_rebalance_start()
        batched.on_rebalance_end()
        assert SOURCE in transport._Gate(batched.consumer)


class TestFetching:
    async def fetch(self, app: Any, **records: list[Any]) -> list[tuple[TP, Any]]:
        return [found async for found in app.consumer.getmany(1.0)]

    async def test_gives_one_message_for_all_records_of_a_partition(
        self, batched: Any, make_record: MakeRecord
    ) -> None:
        records = [make_record(5), make_record(6), make_record(9)]
        batched.consumer._thread.fetches.append(({SOURCE: records}, 1))
        [(tp, answer)] = await self.fetch(batched)
        [message] = answer.value
        assert (tp, message.tp, message.offset, message.key) == (SOURCE, SOURCE, 9, None)
        assert (message.value.records.offsets.tolist(), message.value.begin, message.value.end) == ([5, 6, 9], 5, 10)
        assert message.generation_id == 1

    async def test_what_follows_the_records_is_acknowledged_with_them(
        self, batched: Any, make_record: MakeRecord
    ) -> None:
        fetch = Fetch(Records.of([make_record(5)]), 4, 8)
        batched.consumer._thread.getmany = AsyncMock(return_value=({SOURCE: fetch}, 1))
        [(_, answer)] = await self.fetch(batched)
        [message] = answer.value
        assert (message.offset, message.value) == (7, fetch)

    async def test_gives_one_message_for_all_partitions_that_go_together(
        self, batched: Any, make_record: MakeRecord
    ) -> None:
        symbols = TP("subscriptions", 0)
        batched.transport.sources |= {"more-ticks": 0, "subscriptions": 1}
        more = TP("more-ticks", 0)
        batched.consumer._set_active_tps({SOURCE, OTHER, more, symbols})
        fetches = {
            tp: Fetch(Records.of([make_record(at)]), at, at + 1) for at, tp in enumerate((SOURCE, symbols, OTHER, more))
        }
        batched.consumer._thread.getmany = AsyncMock(return_value=(fetches, 1))
        found = await self.fetch(batched)
        assert [[message.tp for message in answer.value] for _, answer in found] == [[SOURCE, OTHER, more], [symbols]]
        for tp, answer in found:
            assert (tp, answer.tp, answer.generation_id) == (answer.value[0].tp, answer.value[0].tp, 1)
            for message in answer.value:
                assert (message.value, message.offset) == (fetches[message.tp], fetches[message.tp].end - 1)

    async def test_drops_the_rest_of_an_answer_when_the_partitions_move(
        self, batched: Any, make_record: MakeRecord
    ) -> None:
        symbols = TP("subscriptions", 0)
        batched.transport.sources |= {"subscriptions": 1}
        batched.consumer._set_active_tps({SOURCE, symbols})
        fetches = {tp: Fetch(Records.of([make_record(5)]), 5, 6) for tp in (SOURCE, symbols)}
        batched.consumer._thread.getmany = AsyncMock(return_value=(fetches, 1))
        found = []
        async for tp, _ in batched.consumer.getmany(1.0):
            found.append(tp)
            batched.consumer_generation_id = 2
        assert found == [SOURCE]

    async def test_asks_through_the_gate(self, batched: Any) -> None:
        batched.consumer._thread.fetches.append(({}, 1))
        assert await self.fetch(batched) == []
        assert isinstance(batched.consumer._thread.asked_for, transport._Gate)

    async def test_drops_what_was_taken_in_another_generation(self, batched: Any, make_record: MakeRecord) -> None:
        batched.consumer._thread.fetches.append(({SOURCE: [make_record(5)]}, 0))
        assert await self.fetch(batched) == []

    async def test_drops_partitions_that_are_not_ours_any_more(self, batched: Any, make_record: MakeRecord) -> None:
        batched.consumer._thread.fetches.append(({OTHER: [make_record(5, partition=1)]}, 1))
        assert await self.fetch(batched) == []

    async def test_keeps_what_was_fetched_for_a_stream_whose_buffer_is_full(
        self, batched: Any, make_record: MakeRecord
    ) -> None:
        batched.consumer.on_buffer_full(SOURCE)
        batched.consumer._set_active_tps({OTHER})
        batched.consumer._thread.fetches.append(({SOURCE: [make_record(5)]}, 1))
        assert len(await self.fetch(batched)) == 1

    async def test_asks_for_nothing_while_no_partition_is_active(self, batched: Any) -> None:
        batched.consumer._set_active_tps(set())
        assert await self.fetch(batched) == []
        assert batched.consumer._thread.asked_for is None

    async def test_survives_a_failed_seek_while_the_flow_is_stopped(
        self, batched: Any, make_record: MakeRecord, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def stopped_meanwhile(active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109
            batched.consumer.stop_flow()
            return {SOURCE: [make_record(5)]}, 1

        async def no_assignment() -> Any:
            raise RuntimeError("no current assignment")

        batched.consumer._thread.getmany = stopped_meanwhile
        batched.consumer._thread.seek_to_committed = no_assignment
        assert await self.fetch(batched) == []
        assert "no current assignment" in caplog.text

    async def test_what_is_read_again_passes_fausts_own_order_check(
        self, batched: Any, make_record: MakeRecord
    ) -> None:
        """Faust drops what lies below the last offset it read, which a second reading does."""
        consumer, arrived = batched.consumer, []
        consumer._thread.fetches.extend(({SOURCE: [make_record(at), make_record(at + 1)]}, 1) for at in (20, 10, 12))

        async def deliver(message: Any) -> None:
            arrived.append(message.offset)
            if len(arrived) == 3:
                fetcher._stopped.set()

        consumer.callback = deliver
        fetcher = SimpleNamespace(_stopped=asyncio.Event())
        await asyncio.wait_for(consumer._drain_messages(fetcher), 5)
        assert arrived == [21, 11, 13]

    async def test_an_answer_brings_no_more_than_some_partitions_greatest_fetches(self, batched: Any) -> None:
        thread = ClientThread(batched.consumer, loop=batched.loop, beacon=batched.consumer.beacon)
        thread.thread_loop.close()  # the thread never runs
        client = thread._create_worker_consumer(batched.transport)
        assert client._fetch_max_bytes == ANSWER_FETCHES * client._max_partition_fetch_bytes
        await client.stop()

    @pytest.mark.parametrize(("generation", "pace"), [(1, Pace(1000, 250)), (2, AT_ONCE)])
    def test_brokers_gather_ticks_unless_there_is_something_to_recover(
        self, batched: Any, generation: int, pace: Pace
    ) -> None:
        thread = ClientThread(batched.consumer, loop=batched.loop, beacon=batched.consumer.beacon)
        thread.thread_loop.close()
        batched.consumer_generation_id = generation
        assert thread._pace() == pace

    async def test_records_carry_the_generation_they_were_taken_in(
        self, batched: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fetched(self: Any, consumer: Any, active_partitions: Any, *limits: Any) -> Any:
            batched.consumer_generation_id = 2  # while it waited
            return {}

        monkeypatch.setattr("faust.transport.drivers.aiokafka.AIOKafkaConsumerThread._fetch_records", fetched)
        thread = ClientThread(batched.consumer, loop=batched.loop, beacon=batched.consumer.beacon)
        thread.thread_loop.close()
        assert await thread._fetch_records(client(), {SOURCE}) == ({}, 2)

    async def test_records_are_measured_where_they_were_taken(
        self, batched: Any, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records = Records.of([make_record(5)])

        async def fetched(self: Any, consumer: Any, active_partitions: Any, *limits: Any) -> Any:
            return {SOURCE: [records], CHANGES: ["untouched"]}

        monkeypatch.setattr("faust.transport.drivers.aiokafka.AIOKafkaConsumerThread._fetch_records", fetched)
        thread = ClientThread(batched.consumer, loop=batched.loop, beacon=batched.consumer.beacon)
        thread.thread_loop.close()
        taken, _ = await thread._fetch_records(client({SOURCE: 8, OTHER: None}), {SOURCE})
        assert taken == {SOURCE: Fetch(records, 5, 8), CHANGES: ["untouched"]}


class TestCommitting:
    def test_offset_after_the_greatest_acknowledged_one(self, batched: Any) -> None:
        batched.consumer._acked[SOURCE] = [41, 12]
        assert batched.consumer._new_offset(SOURCE) == 42
        assert batched.consumer._new_offset(SOURCE) is None

    def test_a_first_fetch_of_one_record_does_not_stall_it(self, batched: Any) -> None:
        batched.consumer._committed_offset[SOURCE] = 1
        batched.consumer._acked[SOURCE] = [200]
        assert batched.consumer._new_offset(SOURCE) == 201

    def test_other_topics_are_committed_as_faust_does(self, batched: Any) -> None:
        other = TP("other", 0)
        batched.consumer._acked[other] = [1, 2, 5]
        assert batched.consumer._new_offset(other) == 3

    async def test_commits_nothing_once_poisoned(self, batched: Any) -> None:
        assert await batched.consumer._commit({SOURCE: 5})
        batched.consumer.poisoned = True
        assert not await batched.consumer._commit({SOURCE: 6})
        assert batched.consumer._thread.commits == [{SOURCE: 5}]

    async def test_a_send_that_fails_right_before_it_keeps_it_back(self, batched: Any) -> None:
        """Its failure is told by a callback of its future, one turn of the event loop later."""
        batched.loop.call_soon(setattr, batched.consumer, "poisoned", True)
        assert not await batched.consumer._commit({SOURCE: 6})
        assert batched.consumer._thread.commits == []

    async def test_what_could_not_be_committed_is_not_done(self, batched: Any) -> None:
        """Faust itself takes any try for a commit: rows would forget which of the ticks to come again were refused."""
        batched.consumer._acked[SOURCE] = [4]
        assert await batched.consumer.commit()
        batched.consumer.poisoned = True
        batched.consumer._acked[SOURCE] = [9]
        await batched.consumer.commit()
        assert batched.consumer._committed_offset[SOURCE] == 10
        assert committed_offset(batched, SOURCE) == 5

    async def test_what_another_generation_has_committed_is_not_ours(self, batched: Any) -> None:
        """By the time of the answer the partitions may be read from elsewhere."""

        async def commit(offsets: Any) -> bool:
            batched.consumer_generation_id += 1
            return True

        batched.consumer._thread.commit = commit
        assert await batched.consumer._commit({SOURCE: 6})
        assert committed_offset(batched, SOURCE) == 0

    async def test_what_ticks_have_changed_is_sent_before_they_are_committed(self, batched: Any) -> None:
        """And what is acknowledged in the meantime, whose changes may have come too late, is left for the next time."""
        steps: list[str] = []

        async def save() -> None:
            steps.append("saved")
            batched.consumer._acked[SOURCE].append(9)
            await asyncio.sleep(0)

        async def flush() -> None:
            steps.append("flushed")

        batched.transport.before_commit = save
        batched.producer.flush = flush
        batched.consumer._acked[SOURCE] = [4]
        assert await batched.consumer.commit()
        assert steps == ["saved", "flushed"]
        assert batched.consumer._thread.commits == [{SOURCE: 5}]
        assert await batched.consumer.commit()
        assert batched.consumer._thread.commits == [{SOURCE: 5}, {SOURCE: 10}]


class TestWorkingOff:
    """Two partitions' fetches in one event, as an agent's stream brings it."""

    async def work_off(self, app: Any, make_record: MakeRecord, work: Any, count: int = 1) -> Any:
        app.topics._acking_topics.add("ticks")
        app.consumer._set_active_tps({SOURCE, OTHER})
        fetches = {
            tp: Fetch(Records.of([make_record(at + n) for n in range(count)]), at, at + count)
            for tp, at in ((SOURCE, 5), (OTHER, 7))
        }
        app.consumer._thread.getmany = AsyncMock(return_value=(fetches, 1))
        [answer] = [found async for _, found in app.consumer.getmany(1.0)]
        app.consumer.track_message(answer)

        async def events() -> Any:
            yield SimpleNamespace(message=answer, value=answer.value)

        await work_off(app, SimpleNamespace(noack=lambda: SimpleNamespace(events=events)), work)
        return answer

    async def test_each_fetch_is_worked_on_in_turn_and_acknowledged(
        self, batched: Any, make_record: MakeRecord
    ) -> None:
        seen: list[Any] = []

        async def work(tp: TP, fetch: Fetch, generation: int) -> bool:
            seen.append((tp, fetch.begin, generation))
            assert len(batched.consumer.unacked) == 1  # a rebalance waits until all of it is done
            return True

        await self.work_off(batched, make_record, work)
        assert seen == [(SOURCE, 5, 1), (OTHER, 7, 1)]
        assert (batched.consumer._new_offset(SOURCE), batched.consumer._new_offset(OTHER)) == (6, 8)
        assert not batched.consumer.unacked

    async def test_what_is_refused_is_not_acknowledged_and_not_waited_for(
        self, batched: Any, make_record: MakeRecord
    ) -> None:
        async def work(tp: TP, fetch: Fetch, generation: int) -> bool:
            return tp == OTHER

        await self.work_off(batched, make_record, work)
        assert (batched.consumer._new_offset(SOURCE), batched.consumer._new_offset(OTHER)) == (None, 8)
        assert not batched.consumer.unacked

    async def test_nothing_is_acknowledged_from_an_error_on(self, batched: Any, make_record: MakeRecord) -> None:
        async def work(tp: TP, fetch: Fetch, generation: int) -> bool:
            if tp == OTHER:
                raise ValueError("half done")
            return True

        with pytest.raises(ValueError, match="half done"):
            await self.work_off(batched, make_record, work)
        assert (batched.consumer._new_offset(SOURCE), batched.consumer._new_offset(OTHER)) == (6, None)

    async def test_what_a_long_fetch_changes_is_on_its_way_before_the_next_one_is_worked_on(
        self, batched: Any, make_record: MakeRecord
    ) -> None:
        order: list[str] = []

        async def work(tp: TP, fetch: Fetch, generation: int) -> bool:
            asyncio.get_running_loop().call_soon(order.append, "sent")
            order.append("worked")
            return True

        await self.work_off(batched, make_record, work, count=1000)
        assert order == ["worked", "sent", "worked", "sent"]


class TestAnswers:
    async def test_where_reading_began(self, batched: Any) -> None:
        batched.consumer._thread.committed = {SOURCE: 7, OTHER: None, CHANGES: 3}
        await batched.consumer.perform_seek()
        assert (sought_offset(batched, SOURCE), sought_offset(batched, OTHER)) == (7, None)
        assert CHANGES not in batched.consumer.sought
        assert (committed_offset(batched, SOURCE), committed_offset(batched, OTHER)) == (7, 0)

    async def test_reading_again_is_done_in_aiokafkas_thread(self, batched: Any) -> None:
        await read_again(batched, SOURCE, 7)
        assert batched.consumer._thread.sought == [{SOURCE: 7}]

    async def test_reading_again_survives_the_loss_of_the_partition(
        self, batched: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def no_assignment(offsets: Any) -> None:
            raise RuntimeError("no current assignment")

        batched.consumer._thread.seek_wait = no_assignment
        await read_again(batched, SOURCE, 7)
        assert "no current assignment" in caplog.text

    def test_the_assignment_is_the_clients_and_changes_with_it(self, batched: Any) -> None:
        thread = ClientThread(batched.consumer, loop=batched.loop, beacon=batched.consumer.beacon)
        thread.thread_loop.close()
        thread._consumer = SimpleNamespace(assignment=lambda: assigned[0])
        assigned = [frozenset({TopicPartition("ticks", 0)})]
        first = thread.assignment()
        assert first == thread.assignment() == {SOURCE}
        assert {type(tp) for tp in first} == {TP}
        first.clear()  # the answer is the asker's own
        assert thread.assignment() == {SOURCE}
        assigned[0] = frozenset({TopicPartition("ticks", 1)})
        assert thread.assignment() == {OTHER}

    def test_ours_is_what_this_generation_assigned(self, batched: Any) -> None:
        assert is_ours(batched, SOURCE, 1)
        assert not is_ours(batched, SOURCE, 0)
        assert not is_ours(batched, OTHER, 1)

    def test_a_keys_owner_is_that_of_its_partition(self, batched: Any) -> None:
        batched.assignor.external_topic_distribution = {
            "http://one:1": {"ticks": {0}},
            "http://other:2": {"ticks": {1}},
        }
        batched.consumer._thread.partitions = {b"A": 1, b"B": 5}
        assert owner_url(batched, "ticks", b"A") == "http://other:2"
        assert owner_url(batched, "ticks", b"B") is None

    def test_nobody_is_a_keys_owner_before_the_group_is_joined(self, batched: Any) -> None:
        batched.consumer._thread.partitions = None
        assert owner_url(batched, "ticks", b"A") is None

    def test_caught_up_is_where_no_record_follows(self, batched: Any) -> None:
        batched.consumer._thread.taken.take({}, {SOURCE: 1000})
        assert is_caught_up(batched, SOURCE, 998)

    def test_caught_up_is_at_the_end_of_the_log(self, batched: Any) -> None:
        assert is_caught_up(batched, SOURCE, 1000)
        assert not is_caught_up(batched, SOURCE, 999)
        batched.consumer._thread.highwater = lambda tp: None
        assert not is_caught_up(batched, SOURCE, 1000)

    def test_partitions_may_be_worked_on_when_nothing_moves(self, batched: Any) -> None:
        assert active_partitions(batched, ["ticks"]) == [SOURCE]
        batched.consumer_generation_id = 2
        assert active_partitions(batched, ["ticks"]) == []

    def test_nothing_is_settled_before_the_group_is_joined(self, batched: Any) -> None:
        batched.consumer_generation_id, batched.consumer.open_generation = 0, None
        batched.consumer._thread.assigned = set()
        assert not is_settled(batched)

    def test_a_worker_without_partitions_is_settled(self, batched: Any) -> None:
        batched.consumer_generation_id = 2  # nothing is positioned for it
        assert not is_settled(batched)
        batched.consumer._thread.assigned = set()
        assert is_settled(batched)

    @pytest.mark.parametrize("moving", ["rebalancing", "recovery"])
    def test_partitions_may_not_be_worked_on_while_they_move(self, batched: Any, moving: str) -> None:
        if moving == "rebalancing":
            batched.rebalancing = True
        else:
            batched.tables.recovery.in_recovery = True
        assert active_partitions(batched, ["ticks"]) == []
