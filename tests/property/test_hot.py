"""The reader by hand says what the general one says, or leaves the record to it."""

from __future__ import annotations

from io import BytesIO

from damage import damaged
from fastavro import parse_schema, schemaless_reader
from hypothesis import example, given
from hypothesis import strategies as st

from stockstream.codecs.avro import Encoder
from stockstream.codecs.hot import HotReader
from stockstream.models import TICK_SCHEMA_V2, Tick
from stockstream.models.tick import KINDS

HEADER_BYTES = 5
SCHEMA = parse_schema(TICK_SCHEMA_V2)
encode = Encoder(TICK_SCHEMA_V2, 1)


def whole(stream: BytesIO) -> Tick:
    read = schemaless_reader(stream, SCHEMA, None)
    assert isinstance(read, dict)
    return Tick(*read.values())


reader = HotReader(whole)
longs = st.integers(-(2**63), 2**63 - 1)
doubles = st.floats(allow_nan=False)
texts = st.text(st.characters(codec="utf-8"), max_size=80)
ticks = st.builds(
    Tick,
    symbol=texts,
    event_time=longs,
    price=doubles,
    last_size=doubles,
    day_volume=longs,
    trade_id=longs,
    kind=st.sampled_from(KINDS),
    producer_timestamp=longs,
    timestamp=texts,
    exchange=texts,
    change=doubles,
    sequence=st.none() | longs,
    bid=st.none() | doubles,
    cause=st.none() | texts,
)


@given(ticks)
@example(Tick("AAPL", 1_763_645_400_000, 1.5, 2.0, -1, 7, "trade", 1_763_645_400_040, "1763645400000", "NMS"))
@example(Tick("A" * 63, 0, timestamp="1" * 64))
def test_reads_what_the_general_reader_reads(tick: Tick) -> None:
    value = encode(tick)
    for _ in range(2):  # the second time its tail is known
        assert reader.quick(value, HEADER_BYTES) in (tick, None)


@given(st.sampled_from(KINDS), st.integers(0, 2**62 - 1), st.integers(-(2**62), 2**62 - 1))
def test_reads_ordinary_ticks_itself(kind: str, event_time: int, trade_id: int) -> None:
    tick = Tick("BINANCE:BTCUSDT", event_time, 1.5, 2.0, trade_id=trade_id, kind=kind, exchange="X")  # type: ignore[arg-type]
    assert reader.quick(encode(tick), HEADER_BYTES) == tick


@given(ticks, st.data())
def test_leaves_damaged_bytes_to_it(tick: Tick, data: st.DataObject) -> None:
    value = damaged(encode(tick), HEADER_BYTES, data)
    found = reader.quick(value, HEADER_BYTES)
    if found is not None:
        stream = BytesIO(value)
        stream.seek(HEADER_BYTES)
        assert repr(found) == repr(whole(stream))  # NaN is not equal to itself
        assert stream.tell() == len(value)


def test_remembers_no_more_tails_than_it_should() -> None:
    reader = HotReader(whole)
    for number in range(20_010):
        reader.quick(encode(Tick("A", 1, 1.0, exchange=str(number))), HEADER_BYTES)
    assert 0 < len(reader._tails) <= 20_000
