"""The reader of candles by hand says what the general one says, or leaves the record to it."""

from __future__ import annotations

from io import BytesIO

from damage import damaged
from fastavro import parse_schema, schemaless_reader
from hypothesis import example, given
from hypothesis import strategies as st

from stockstream.codecs.avro import Encoder
from stockstream.codecs.candle_reader import CandleReader
from stockstream.core.row import OFFSET_BITS, candle_version, stamp
from stockstream.models import CANDLE_SCHEMA, Candle
from stockstream.models.candle import STATES

HEADER_BYTES = 5
SCHEMA = parse_schema(CANDLE_SCHEMA)
encode = Encoder(CANDLE_SCHEMA, 1)


def whole(stream: BytesIO) -> Candle:
    read = schemaless_reader(stream, SCHEMA, None)
    assert isinstance(read, dict)
    return Candle(*read.values())


READER = CandleReader(whole)  # one for all: what it remembers of one candle must not show in another
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100)
times = st.integers(1_763_645_400_000, 1_763_645_400_003) | longs
doubles = st.floats(allow_nan=False)
texts = st.sampled_from(["", "A", "B"]) | st.text(st.characters(codec="utf-8"), max_size=80)
candles = st.builds(
    Candle, symbol=texts, interval=texts, session=texts, window_start=times, window_end=times, open=doubles,
    high=doubles, low=doubles, close=doubles, volume=st.none() | doubles, vwap=st.none() | doubles,
    trades=st.none() | longs, is_closed=st.booleans(), version=longs, session_open=times, session_close=times,
    partial=st.booleans(), gap=st.booleans(), corrected=st.booleans(), state=st.sampled_from(STATES),
)  # fmt: skip
DAY = 1_763_596_800_000
ORDINARY = Candle("BINANCE:BTCUSDT", "1m", "regular", DAY, DAY + 60_000, 1, 2, 0.5, 1, 3, 1, 4, True, 7, DAY, DAY)


@given(candles)
@example(ORDINARY)
def test_reads_what_the_general_reader_reads(candle: Candle) -> None:
    value = encode(candle)
    for _ in range(2):  # the second time its names and bounds are known
        assert READER.quick(value, HEADER_BYTES) in (candle, None)


@given(
    st.integers(0, 30), st.sampled_from(["1m", "5m", "1d"]), st.integers(0, 10**6), st.integers(1, 2**40),
    st.integers(0, 60), st.integers(0, 2**OFFSET_BITS - 1), st.booleans(), st.sampled_from(STATES),
)  # fmt: skip
def test_reads_ordinary_candles_itself(
    symbol: int, interval: str, minute: int, trades: int, epoch: int, offset: int, closed: bool, state: str
) -> None:
    start = DAY + minute * 60_000
    version = candle_version(stamp(epoch, offset), closed)
    candle = Candle(
        f"S{symbol}", interval, "regular", start, start + 60_000, 1.5, 2.5, 0.5, 1.25, 7.0, 1.125, trades,
        closed, version, start, start + 60_000, state=state,  # type: ignore[arg-type]
    )  # fmt: skip
    assert READER.quick(encode(candle), HEADER_BYTES) == candle


@given(candles | st.just(ORDINARY), st.data())
def test_leaves_damaged_bytes_to_it(candle: Candle, data: st.DataObject) -> None:
    value = damaged(encode(candle), HEADER_BYTES, data)
    found = READER.quick(value, HEADER_BYTES)
    if found is not None:
        stream = BytesIO(value)
        stream.seek(HEADER_BYTES)
        assert repr(found) == repr(whole(stream))  # NaN is not equal to itself
        assert stream.tell() == len(value)
