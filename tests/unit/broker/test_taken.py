from __future__ import annotations

from types import SimpleNamespace

from faust.types import TP

from stockstream.broker.taken import Fetch, Taken
from stockstream.models.records import Records

TICKS = TP("ticks", 0)
OTHER = TP("ticks", 1)


def records(*offsets: int) -> Records:
    return Records.of([SimpleNamespace(key=b"A", value=b"", offset=offset) for offset in offsets])


def take(taken: Taken, *offsets: int, position: int | None = None) -> Fetch:
    batch = records(*offsets)
    return taken.take({TICKS: batch}, {TICKS: offsets[-1] + 1 if position is None else position})[TICKS]


def test_a_fetch_covers_its_records_and_what_follows_them_without_one() -> None:
    fetch = take(Taken(), 5, 6, 8, position=10)
    assert (fetch.begin, fetch.end) == (5, 10)


def test_a_fetch_covers_the_offsets_without_a_record_since_the_one_before() -> None:
    taken = Taken()
    take(taken, 0, 1)
    taken.take({}, {TICKS: 3})  # a marker, in a fetch of its own
    fetch = take(taken, 4)
    assert (fetch.begin, fetch.end) == (2, 5)


def test_a_fetch_that_got_lost_later_is_not_covered() -> None:
    taken = Taken()
    take(taken, 0, 1)
    take(taken, 2, 3)
    assert take(taken, 4).begin == 4


def test_after_a_seek_everything_from_there_is_covered() -> None:
    taken = Taken()
    take(taken, 0, 1, 2, 3)
    taken.seek({TICKS: 1})
    assert take(taken, 2).begin == 1


def test_a_seek_back_that_was_not_told_covers_the_records_only() -> None:
    taken = Taken()
    take(taken, 0, 1, 2, 3)
    assert take(taken, 2, 3).begin == 2


def test_the_log_is_read_to_where_no_record_was_found() -> None:
    taken = Taken()
    take(taken, 0, 1)
    assert taken.reached(TICKS, 2) == 2
    taken.take({}, {TICKS: 3, OTHER: 7})
    assert taken.reached(TICKS, 2) == 3
    assert taken.reached(OTHER, 5) == 7


def test_records_that_were_taken_and_not_applied_yet_lie_before_the_end() -> None:
    taken = Taken()
    take(taken, 0, 1)
    take(taken, 2, 3)
    taken.take({}, {TICKS: 9})
    assert taken.reached(TICKS, 2) == 2
    assert taken.reached(TICKS, 4) == 9


def test_after_a_seek_nothing_is_known_of_what_follows() -> None:
    taken = Taken()
    take(taken, 0, 1, position=9)
    taken.seek({TICKS: 0})
    assert taken.reached(TICKS, 0) == 0
