from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.broker.stores import PartitionStore
from stockstream.core.interval import INTERVALS_MS, Address
from stockstream.core.partial import Partial
from stockstream.core.row import Row
from stockstream.core.rows import Rows
from stockstream.models import Tick
from stockstream.tables import Tables
from stockstream.tables.rows import Changes, StoreRows, decode_key, encode_key

DAY = 86_400_000
KEY = ("A", "regular")
OTHER = ("A", "extended")


class DictStore:
    """A store in memory, as `PartitionStore` behaves."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(self.rows.items()))

    def write(self, rows: Any) -> None:
        for key, value in rows:
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


Stores = dict[str, Any]


def dict_stores() -> Stores:
    return {interval: DictStore() for interval in INTERVALS_MS}


def opened(stores: Mapping[str, Any]) -> StoreRows:
    rows = StoreRows(stores)
    list(rows.load(everything_is_committed))
    return rows


def everything_is_committed(topic_id: int) -> int:
    return 1 << 40


def write(stores: Stores, changes: Changes) -> None:
    for interval, pairs in changes.items():
        stores[interval].write(pairs)


def row_of(stamp: int, topic_id: int = 7, closed: bool = False) -> Row:
    bar = Partial.of(Tick("A", DAY, 10.0 + stamp, 1.0, trade_id=stamp), stamp)
    return Row(topic_id, stamp, bar, closed)


def data(row: Row | None) -> bytes | None:
    return None if row is None else row.encode()


addresses = st.tuples(
    st.sampled_from(list(INTERVALS_MS)), st.sampled_from([KEY, OTHER]), st.integers(0, 3).map(lambda n: n * DAY)
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), addresses),
        st.tuples(st.just("change"), addresses),
        st.tuples(st.just("delete"), addresses),
        st.tuples(st.just("take"), st.lists(addresses, max_size=3)),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=30,
)


@given(operations)
def test_answers_as_rows_in_memory_do_also_after_a_restart(steps: list[tuple[str, Any]]) -> None:
    stores, memory = dict_stores(), Rows()
    rows = opened(stores)
    for number, (step, at) in enumerate(steps):
        if step == "put":
            rows.put(at, row_of(number))
            memory.put(at, row_of(number))
        elif step == "change":
            for side in (rows, memory):
                row = side.get(at)
                if row is not None:
                    row.stamp = 1000 + number
                    side.put(at, row)
        elif step == "delete":
            rows.delete(at)
            memory.delete(at)
        else:
            write(stores, rows.take(at or []))
            if step == "restart":
                rows = opened(stores)
        assert_same(rows, memory)
    write(stores, rows.take([]))
    for interval, store in stores.items():
        assert store.rows == {encode_key(at): data(memory.get(at)) for at in memory.addresses(interval)}


def assert_same(rows: StoreRows, memory: Rows) -> None:
    for interval in INTERVALS_MS:
        for key in (KEY, OTHER):
            for start in range(-DAY, 5 * DAY, DAY):
                at = (interval, key, start)
                assert data(rows.get(at)) == data(memory.get(at))
                assert rows.before(at) == memory.before(at)
                assert rows.after(at) == memory.after(at)


class TestTaking:
    @pytest.fixture
    def stores(self) -> Stores:
        return dict_stores()

    def test_gives_what_changed_under_its_key_and_ends_the_batch(self, stores: Stores) -> None:
        rows = opened(stores)
        at: Address = ("5m", KEY, DAY)
        rows.put(at, row_of(3))
        assert rows.take([]) == {"1m": [], "5m": [(encode_key(at), row_of(3).encode())], "1d": []}
        assert rows.take([]) == {"1m": [], "5m": [], "1d": []}

    def test_gives_touched_rows_again_though_nothing_changed(self, stores: Stores) -> None:
        """A crash may have come after the write and before the send."""
        at: Address = ("1m", KEY, DAY)
        stores["1m"].write([(encode_key(at), row_of(3).encode())])
        assert opened(stores).take([at])["1m"] == [(encode_key(at), row_of(3).encode())]

    def test_gives_a_row_once_however_often_it_was_named(self, stores: Stores) -> None:
        rows = opened(stores)
        at: Address = ("1m", KEY, DAY)
        rows.put(at, row_of(3))
        rows.put(at, row_of(4))
        assert rows.take([at, at])["1m"] == [(encode_key(at), row_of(4).encode())]

    def test_gives_deletions(self, stores: Stores) -> None:
        at: Address = ("1m", KEY, DAY)
        stores["1m"].write([(encode_key(at), row_of(3).encode())])
        rows = opened(stores)
        rows.delete(at)
        assert rows.get(at) is None
        assert rows.take([])["1m"] == [(encode_key(at), None)]

    def test_one_address_gives_one_object_until_then(self, stores: Stores) -> None:
        at: Address = ("1m", KEY, DAY)
        stores["1m"].write([(encode_key(at), row_of(3).encode())])
        rows = opened(stores)
        assert rows.get(at) is rows.get(at)


class TestLoading:
    def test_yields_open_rows_and_each_symbols_newest(self) -> None:
        stores = dict_stores()
        open_row, old, newest = ("1m", KEY, DAY), ("1m", KEY, 2 * DAY), ("1m", KEY, 3 * DAY)
        other: Address = ("5m", OTHER, DAY)
        stores["1m"].write(
            [
                (encode_key(open_row), row_of(1).encode()),
                (encode_key(old), row_of(2, closed=True).encode()),
                (encode_key(newest), row_of(3, closed=True).encode()),
            ]
        )
        stores["5m"].write([(encode_key(other), row_of(4, closed=True).encode())])
        found = dict(StoreRows(stores).load(everything_is_committed))
        assert {at: data(row) for at, row in found.items()} == {
            open_row: row_of(1).encode(),
            newest: row_of(3, closed=True).encode(),
            other: row_of(4, closed=True).encode(),
        }

    def test_yields_rows_that_closed_where_reading_goes_on(self) -> None:
        """They may have been stored and not yet sent; what closed earlier has been, or nothing would be committed."""
        stores = dict_stores()
        before, at_the_end, newest = (("1m", KEY, start * DAY) for start in (1, 2, 3))
        for at, closed_at in ((before, 40), (at_the_end, 41), (newest, 30)):
            row = row_of(closed_at, closed=True)
            row.closed_at = closed_at
            stores["1m"].write([(encode_key(at), row.encode())])
        assert dict(StoreRows(stores).load(lambda topic_id: 42)).keys() == {at_the_end, newest}

    def test_knows_the_newest_place_of_each_topic(self) -> None:
        stores = dict_stores()
        stores["1m"].write([(encode_key(("1m", KEY, DAY)), row_of(41, topic_id=7).encode())])
        stores["5m"].write([(encode_key(("5m", KEY, DAY)), row_of(42, topic_id=7).encode())])
        stores["1d"].write([(encode_key(("1d", OTHER, DAY)), row_of(5, topic_id=8).encode())])
        assert opened(stores).places == {7: 42, 8: 5}

    def test_reads_windows_before_1970_in_their_order(self) -> None:
        starts = [-2 * DAY, -DAY, 0, DAY]
        assert [decode_key(encode_key(("1d", KEY, start))) for start in starts] == [(KEY, start) for start in starts]


def test_newest_rows_ascend_and_leave_no_trace() -> None:
    stores = dict_stores()
    starts = [DAY, 2 * DAY, 3 * DAY]
    stores["1m"].write((encode_key(("1m", KEY, start)), row_of(start // DAY).encode()) for start in starts)
    rows = opened(stores)
    assert [at[2] for at, _ in rows.newest("1m", KEY, 2)] == starts[1:]
    assert rows.newest("1m", OTHER, 2) == []
    assert rows.take([])["1m"] == []


async def test_rows_outlive_a_restart_in_real_stores(tables: Tables) -> None:
    def stores() -> dict[str, PartitionStore]:
        return {interval: PartitionStore(wrapper.table, 1) for interval, wrapper in tables.candles.items()}

    written, before = stores(), ("1m", KEY, 16 * 60_000)
    rows = opened(written)
    after: Address = ("1m", KEY, 17 * 60_000)  # 1020 s sorts before 960 s as text
    rows.put(after, row_of(2))
    rows.put(before, row_of(1))
    for interval, pairs in rows.take([]).items():
        written[interval].write(pairs)
    again = opened(stores())
    assert data(again.get(before)) == row_of(1).encode()
    assert (again.after(before), again.before(after)) == (after[2], before[2])


class TestKeeping:
    @pytest.fixture
    def stores(self) -> Stores:
        return dict_stores()

    @pytest.fixture
    def reads(self, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """The keys that are read from the store of 1m."""
        asked: list[bytes] = []
        get = stores["1m"].get
        monkeypatch.setattr(stores["1m"], "get", lambda key: asked.append(key) or get(key))
        return asked

    def test_the_newest_row_of_a_series_is_not_read_again(self, stores: Stores, reads: list[bytes]) -> None:
        rows = opened(stores)
        older, newest = ("1m", KEY, 0), ("1m", KEY, DAY)
        for at in (older, newest):
            rows.put(at, row_of(1))
        write(stores, rows.take([]))
        kept, read = rows.get(newest), rows.get(older)
        assert (data(kept), data(read)) == (data(row_of(1)), data(row_of(1)))
        assert reads == [encode_key(older)]

    def test_what_is_kept_is_bounded(self, stores: Stores, reads: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stockstream.tables.rows._MOST_KEPT", 2)
        rows = opened(stores)
        addresses: list[Address] = [("1m", (symbol, "regular"), 0) for symbol in ("A", "B", "C")]
        for at in addresses:
            rows.put(at, row_of(1))
        write(stores, rows.take([]))
        assert [data(rows.get(at)) for at in addresses] == [data(row_of(1))] * 3
        assert reads == [encode_key(addresses[0])]

    def test_a_deleted_row_is_not_kept(self, stores: Stores) -> None:
        rows = opened(stores)
        at: Address = ("1m", KEY, 0)
        rows.put(at, row_of(1))
        write(stores, rows.take([]))
        rows.delete(at)
        write(stores, rows.take([]))
        assert rows.get(at) is None


@pytest.mark.parametrize(
    "data", [b"", b'["A#regular",[', b'["A#regular",[x,1]]', b'["A#regular",[1e400,1]]', b'["\xff#r",[1,2]]']
)
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several texts, some of them Python's own
        decode_key(data)
