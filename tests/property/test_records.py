"""Some records of several, copied and put together, say what they said."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from whole import Record

from stockstream.models.records import Records

parts = st.none() | st.binary(max_size=5)
logs = st.lists(st.builds(Record, parts, parts, st.integers(0, 99)), max_size=6)


def told(records: Records) -> list[tuple[bytes | None, bytes | None, int]]:
    return [(records.key(at), records.value(at), records.offset(at)) for at in range(len(records))]


@given(st.lists(logs, min_size=1, max_size=3), st.data())
def test_chosen_records_joined(fetches: list[list[Record]], data: st.DataObject) -> None:
    chosen, expected = [], []
    for fetch in fetches:
        rows = data.draw(st.sets(st.integers(0, len(fetch) - 1)).map(sorted)) if fetch else []
        only = Records.of(fetch).only(np.array(rows, np.int64))
        expected += [(fetch[row].key, fetch[row].value, fetch[row].offset) for row in rows]
        assert len(only.data) == sum(len(part or b"") for row in rows for part in (fetch[row].key, fetch[row].value))
        chosen.append(only)
    assert told(Records.joined(chosen)) == expected


@given(logs, st.data())
def test_a_part_of_them(log: list[Record], data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(log)))
    end = data.draw(st.integers(begin, len(log)))
    assert told(Records.of(log).part(begin, end)) == told(Records.of(log))[begin:end]


@given(logs, st.integers(1, 6))
def test_what_values_begin_with(log: list[Record], size: int) -> None:
    expected = {record.value[:size] for record in log if record.value}
    assert Records.of(log).beginnings(size) - {b""} == expected
