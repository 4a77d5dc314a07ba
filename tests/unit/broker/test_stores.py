from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockstream.broker.stores import PartitionStore, absorb, changes, store_failure
from stockstream.core.interval import INTERVALS_MS, window_start
from stockstream.models.records import Records
from stockstream.tables import Tables
from stockstream.tables.rows import decode_key, encode_key

MakeRecord = Callable[..., Any]
PARTITION = 2


@pytest.fixture
def store(tables: Tables) -> PartitionStore:
    return PartitionStore(tables.latest, PARTITION)


@pytest.fixture
def place(store: PartitionStore) -> TP:
    return TP(store.changelog, PARTITION)


def persisted(tables: Tables, place: TP) -> int | None:
    offset: int | None = tables.latest.data.persisted_offset(place)
    return offset


def test_what_the_disk_refuses_is_told_with_what_to_do(tmp_path: Path) -> None:
    """A file of a store may not grow, as on a full disk; in a process of its own, for the limit is a process's."""
    script = (
        "import resource, sys; from rocksdict import Rdict; from stockstream.broker.stores import store_failure\n"
        "store = Rdict(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    for number in range(1000): store[number] = bytes(1000)\n"
        "except Exception as error: print(store_failure(error, 'x'))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "store")]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    told = (
        r"the stores in x cannot be written \(IO error: .*: File too large\): make room on their disk, .* start again"
    )
    assert re.match(told, child.stdout), child.stderr


def test_what_is_no_failure_of_the_disk_is_not_told_as_one() -> None:
    assert store_failure(RuntimeError("sending to x failed: IO error"), "x") is None


class TestPartitionStore:
    def test_gives_back_what_was_written(self, store: PartitionStore) -> None:
        store.write([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
        assert (store.get(b"a"), store.get(b"b"), store.get(b"c")) == (b"3", b"2", None)
        assert store.get_all([b"c", b"b", b"a"]) == [None, b"2", b"3"]
        assert store.get_all([]) == []

    def test_none_deletes(self, store: PartitionStore) -> None:
        store.write([(b"a", b"1"), (b"b", b"2")])
        store.write([(b"a", None), (b"c", None)])
        assert list(store.items()) == [(b"b", b"2")]

    def test_lists_rows_without_fausts_own_key(self, store: PartitionStore, tables: Tables, place: TP) -> None:
        store.write([(b"b", b"2"), (b"a", b"1")], persisted_offset=41)
        assert list(store.items()) == [(b"a", b"1"), (b"b", b"2")]
        assert persisted(tables, place) == 41

    def test_is_read_by_fausts_own_tables(self, store: PartitionStore, tables: Tables) -> None:
        store.write([(b"a", b"1")])
        assert tables.latest[b"a"] == b"1"
        at = ("1m", ("A", "regular"), 1_700_000_040_000)
        table = tables.candles["1m"].table
        PartitionStore(table, PARTITION).write([(encode_key(at), b"row")])
        [window] = table.window.ranges(1_700_000_070)
        assert table["A#regular", window] == b"row"

    def test_partitions_are_apart(self, store: PartitionStore, tables: Tables) -> None:
        store.write([(b"a", b"1")])
        assert PartitionStore(tables.latest, PARTITION + 1).get(b"a") is None

    def test_offset_moves_over_what_lies_next_to_it(self, store: PartitionStore, tables: Tables, place: TP) -> None:
        assert store.advance(0, 3)
        assert store.advance(3, 1)
        assert persisted(tables, place) == 3

    @pytest.mark.parametrize("base", [0, 2, 5])
    def test_offset_does_not_move_over_what_somebody_else_wrote(
        self, store: PartitionStore, tables: Tables, place: TP, base: int
    ) -> None:
        store.write([], persisted_offset=3)
        assert not store.advance(base, 2)
        assert persisted(tables, place) == 3

    def test_offset_does_not_move_in_a_store_that_was_let_go(self, store: PartitionStore, tables: Tables) -> None:
        tables.latest.data._dbs.pop(PARTITION)
        assert not store.advance(0, 1)


class FakeRecovery:
    def __init__(self, *, active: set[TP] = frozenset(), standby: set[TP] = frozenset()) -> None:  # type: ignore[assignment]
        self.active_tps, self.standby_tps = set(active), set(standby)
        self.active_offsets: Counter[TP] = Counter()
        self.standby_offsets: Counter[TP] = Counter()
        self.in_recovery = True
        self.remaining = 1
        self.done: list[str] = []

    def need_recovery(self) -> bool:
        return self.remaining > 0

    def standby_remaining_total(self) -> int:
        return self.remaining

    def end(self) -> None:
        self.in_recovery = False
        self.done.append("ended")


class TestAbsorb:
    @pytest.fixture
    def app(self, tables: Tables, place: TP) -> Any:
        recovery = FakeRecovery(active={place})
        manager = SimpleNamespace(
            recovery=recovery, _changelogs={place.topic: tables.latest}, standbys_ready=True, told=[]
        )
        manager.on_standbys_ready = lambda: manager.told.append("ready")
        return SimpleNamespace(tables=manager)

    def record(self, offset: int, key: bytes, value: bytes | None) -> Any:
        return SimpleNamespace(offset=offset, key=key, value=value)

    def test_writes_rows_and_how_far_it_is(self, app: Any, store: PartitionStore, tables: Tables, place: TP) -> None:
        absorb(app, place, Records.of([self.record(4, b"a", b"1"), self.record(9, b"b", b"2")]), None)
        assert list(store.items()) == [(b"a", b"1"), (b"b", b"2")]
        assert (persisted(tables, place), app.tables.recovery.active_offsets[place]) == (9, 9)

    def test_the_newer_state_of_a_row_wins_and_not_the_later_record(
        self, app: Any, store: PartitionStore, place: TP
    ) -> None:
        store.write([(b"a", b"5")])
        absorb(
            app,
            place,
            Records.of([self.record(0, b"a", b"4"), self.record(1, b"b", b"9"), self.record(2, b"b", b"3")]),
            newer,
        )
        assert list(store.items()) == [(b"a", b"5"), (b"b", b"9")]
        absorb(app, place, Records.of([self.record(3, b"a", b"6")]), newer)
        assert store.get(b"a") == b"6"

    def test_the_later_record_wins_where_nothing_tells_states_apart(
        self, app: Any, store: PartitionStore, place: TP
    ) -> None:
        absorb(app, place, Records.of([self.record(0, b"a", b"5"), self.record(1, b"a", b"4")]), None)
        assert store.get(b"a") == b"4"

    def test_a_deletion_holds_until_the_row_is_written_again(self, app: Any, store: PartitionStore, place: TP) -> None:
        store.write([(b"a", b"5"), (b"b", b"5")])
        records = [self.record(0, b"a", None), self.record(1, b"b", None), self.record(2, b"b", b"1")]
        absorb(app, place, Records.of(records), newer)
        assert list(store.items()) == [(b"b", b"1")]

    def test_what_was_read_already_changes_nothing(
        self, app: Any, store: PartitionStore, tables: Tables, place: TP
    ) -> None:
        app.tables.recovery.active_offsets[place] = 7
        store.write([], persisted_offset=7)
        absorb(app, place, Records.of([self.record(6, b"a", b"1"), self.record(7, b"b", b"2")]), None)
        assert list(store.items()) == []
        absorb(app, place, Records.of([self.record(5, b"a", b"1")]), None)
        assert (persisted(tables, place), app.tables.recovery.active_offsets[place]) == (7, 7)

    def test_partitions_that_nobody_recovers_are_left_alone(self, app: Any, store: PartitionStore, place: TP) -> None:
        app.tables.recovery.active_tps.clear()
        absorb(app, place, Records.of([self.record(0, b"a", b"1")]), None)
        assert list(store.items()) == []

    def test_ends_recovery_when_nothing_remains(self, app: Any, place: TP) -> None:
        absorb(app, place, Records.of([self.record(0, b"a", b"1")]), None)
        assert app.tables.recovery.done == []
        app.tables.recovery.remaining = 0
        absorb(app, place, Records.of([self.record(1, b"a", b"1")]), None)
        absorb(app, place, Records.of([self.record(2, b"a", b"1")]), None)
        assert app.tables.recovery.done == ["ended"]

    def test_tells_when_standbys_have_caught_up(self, app: Any, place: TP) -> None:
        recovery = app.tables.recovery = FakeRecovery(standby={place})
        recovery.in_recovery = app.tables.standbys_ready = False
        absorb(app, place, Records.of([self.record(0, b"a", b"1")]), None)
        assert app.tables.told == []
        recovery.remaining = 0
        absorb(app, place, Records.of([self.record(1, b"a", b"1")]), None)
        assert app.tables.told == ["ready"]
        assert (recovery.standby_offsets[place], recovery.active_offsets[place]) == (1, 0)


def newer(stored: bytes, arriving: bytes) -> bool:
    return arriving >= stored


@given(
    before=st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([b"3", b"7"])),
    log=st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([b"1", b"3", b"5", b"9", None]))),
)
def test_a_fetch_comes_to_what_its_records_come_to_one_by_one(
    before: dict[bytes, bytes], log: list[tuple[bytes, bytes | None]]
) -> None:
    expected: dict[bytes, bytes | None] = dict(before)
    for key, value in log:
        stored = expected.get(key)
        if value is None or stored is None or newer(stored, value):
            expected[key] = value
    store: Any = SimpleNamespace(get_all=lambda keys: [before.get(key) for key in keys])
    found = before | changes(log, store, newer)
    assert {k: v for k, v in found.items() if v is not None} == {k: v for k, v in expected.items() if v is not None}


@pytest.fixture
def encoders(tables: Tables) -> dict[str, Callable[[str, int], bytes]]:
    """By interval: Faust's own encoding of a key in the window that holds a time."""

    def of(wrapper: Any) -> Callable[[str, int], bytes]:
        def encode(name: str, event_ms: int) -> bytes:
            [window] = wrapper.table.window.ranges(event_ms / 1000)
            encoded: bytes = wrapper.table.data._encode_key((name, window))
            return encoded

        return encode

    return {interval: of(wrapper) for interval, wrapper in tables.candles.items()}


class TestKeys:
    # the fixture keeps no state between examples
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        interval=st.sampled_from(list(INTERVALS_MS)),
        symbol=st.text("ABCXYZ0189.-_^=:/", min_size=1, max_size=64),
        session=st.sampled_from(["regular", "extended"]),
        event_ms=st.integers(1, 2_147_483_647_000 - 1),  # Faust counts seconds in 32 bits
    )
    def test_are_fausts(
        self,
        encoders: dict[str, Callable[[str, int], bytes]],
        interval: str,
        symbol: str,
        session: str,
        event_ms: int,
    ) -> None:
        at = (interval, (symbol, session), window_start(interval, event_ms))
        key = encode_key(at)
        assert key == encoders[interval](f"{symbol}#{session}", event_ms)
        assert (interval, *decode_key(key)) == at
