from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stockstream.core.latest import encode_row, is_as_late, is_later, latest_of, published_part, rank_of
from stockstream.models import Tick

times = st.integers(1, 10)
ticks = st.builds(
    Tick,
    symbol=st.just("A"),
    event_time=times,
    price=st.floats(1, 5),
    trade_id=st.integers(-1, 3),
    sequence=st.none() | st.integers(0, 3),
    producer_timestamp=st.integers(0, 10),
)


def row(tick: Tick) -> bytes:
    return encode_row(rank_of(tick), b"published")


@given(ticks)
def test_a_tick_ranks_as_what_it_says(tick: Tick) -> None:
    latest = latest_of(tick, 7)
    assert rank_of(tick) == (latest.event_time, latest.order, latest.received_time, latest.price)


@given(ticks, ticks)
def test_stored_bytes_order_as_ranks_do(one: Tick, other: Tick) -> None:
    assert is_later(rank_of(one), row(other)) == (rank_of(one) > rank_of(other))
    assert is_as_late(row(other), row(one)) == (rank_of(one) >= rank_of(other))


def test_the_first_price_is_later_than_none() -> None:
    assert is_later(rank_of(Tick("A", 1, 2.0)), None)


def test_what_is_published_is_in_the_row_as_it_was_encoded() -> None:
    assert published_part(row(Tick("A", 1, 2.0))) == b"published"
