from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from raw_batches import CODECS, Item, batch, damaged, malformed, old_batch, sealed

from stockstream.broker import record_batches
from stockstream.broker.record_batches import read_records
from stockstream.models.records import Records

Found = list[tuple[int, bytes | None, bytes | None]]

T0_MS = 1_700_000_000_000
MANY = [Item(b"key%d" % at, b"value%d" % at) for at in range(record_batches._FEW + 1)]


def listed(records: Records | None) -> Found:
    count = 0 if records is None else len(records)
    return [(records.offset(at), records.key(at), records.value(at)) for at in range(count)] if records else []


def read(data: bytes, position: int = 0) -> tuple[Found, int]:
    records, after = read_records(data, position)
    return listed(records), after


def read_by_aiokafka(data: bytes, position: int) -> tuple[Found, int]:
    reader = PartitionRecords(
        TopicPartition("ticks", 0), MemoryRecords(data), [], position, None, None, True, READ_UNCOMMITTED
    )
    found = [(record.offset, record.key, record.value) for record in reader]
    return found, reader.next_fetch_offset


@pytest.fixture(autouse=True, params=["by numpy", "as it chooses"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways must read the same, however many records there are."""
    with patch.object(record_batches, "_FEW", 0 if request.param == "by numpy" else record_batches._FEW):
        yield


PARTS = st.none() | st.binary(max_size=12) | st.integers(50, 9000).map(bytes)
HEADERS = st.lists(st.tuples(st.text(max_size=4), st.none() | st.binary(max_size=4)), max_size=2)
ITEMS = st.builds(Item, PARTS, PARTS, st.integers(0, 2**45), HEADERS, st.sampled_from([0, 0, 0, 1, 200]))
SHAPES = st.fixed_dictionaries(
    {
        "items": st.lists(ITEMS, max_size=8),
        "codec": st.sampled_from(list(CODECS)),
        "control": st.sampled_from([False, False, False, True]),
        "tail_offsets": st.sampled_from([0, 0, 3]),
    }
)


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, int]:
    """A stretch of a log, and a position in its first batch."""
    shapes = draw(st.lists(SHAPES, min_size=1, max_size=4))
    lengths = [sum(1 + item.skipped for item in shape["items"]) + shape["tail_offsets"] + 1 for shape in shapes]
    bases = list(accumulate(lengths, initial=draw(st.integers(0, 2**40))))
    for shape in shapes:
        shape["codec"] = shape["codec"] if shape["items"] else "none"  # as brokers leave what compaction has emptied
    data = b"".join(batch(base, **shape) for base, shape in zip(bases, shapes, strict=False))
    cut_off = draw(st.integers(0, 70))
    return data + batch(bases[-1], MANY)[:cut_off], draw(st.integers(max(0, bases[0] - 2), bases[1] - 1))


class TestAnyLog:
    @given(log=logs())
    def test_is_read_as_aiokafka_reads_it(self, log: tuple[bytes, int]) -> None:
        data, position = log
        found, after = read_by_aiokafka(data, position)
        with patch.object(record_batches, "_FEW", 0):
            assert read(data, position) == (found, max(after, position))
        assert read(data, position) == (found, max(after, position))

    @given(data=st.binary(max_size=200), head=st.booleans())
    def test_is_read_or_refused_whatever_its_bytes_are(self, data: bytes, head: bool) -> None:
        """What a checksum cannot tell must raise what it should, and nothing else."""
        with patch.object(record_batches, "_FEW", 0):
            whole = bytearray(batch(0, MANY[:3]))
            length = len(whole) - 61 if head else len(whole) - 17
            whole[-length:] = (data + bytes(whole[-length:]))[:length]
            whole[8:12] = (len(whole) - 12).to_bytes(4, "big")
            if whole[16] < 2 or whole[22] & 0x07:
                return  # aiokafka's readers, and codecs, have errors of their own
            with suppress(CorruptRecordException):
                read(sealed(whole))


class TestBatches:
    @pytest.mark.parametrize("codec", CODECS)
    def test_of_every_codec(self, codec: str) -> None:
        found, after = read(batch(7, MANY, codec) + batch(7 + len(MANY), MANY, codec))
        assert found == [(7 + at, item.key, item.value) for at, item in enumerate(MANY + MANY)]
        assert after == 7 + 2 * len(MANY)

    def test_of_a_codec_that_nobody_knows(self) -> None:
        data = bytearray(batch(0, MANY))
        data[22] |= 7
        with pytest.raises(UnsupportedCodecError):
            read(sealed(data))

    @pytest.mark.parametrize("items", [MANY[:2], MANY])
    @pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "none"])
    @pytest.mark.parametrize("wrong", [b"", b"\xff" * 9, b"\x82SNAPPY\0" + bytes(12)])
    def test_of_records_that_are_not_packed_as_it_says(self, items: list[Item], codec: str, wrong: bytes) -> None:
        data = bytearray(batch(0, items, codec))
        data[61:] = wrong
        data[8:12] = (len(data) - 12).to_bytes(4, "big")
        with pytest.raises(CorruptRecordException):
            read(sealed(data))

    def test_of_an_old_format_whose_length_is_negative(self) -> None:
        data = bytes.fromhex(
            "00000000000000000000004672786e7e0001fdffffff000000381f8b080077b10a6b02ff6360800391eb578f4d04b3181d81046b"
            "59624e692a548e1188f92ac33d1e3030fc0702901000e34feb763a000000"
        )
        with pytest.raises(CorruptRecordException):
            read(data)

    @pytest.mark.parametrize("delta", [0, 2 * 9, 127])
    def test_of_offsets_that_do_not_ascend(self, delta: int) -> None:
        items = [Item(b"key", b"value", time_ms=T0_MS) for _ in range(4)]
        data = bytearray(batch(0, items))
        size = (len(data) - 61) // 4
        assert data[61 + 2 * size + 3] == 4, "the third record's offset, doubled"
        data[61 + 2 * size + 3] = delta
        with pytest.raises(CorruptRecordException, match="ascend"):
            read(sealed(data))

    @pytest.mark.parametrize("magic", [0, 1])
    @pytest.mark.parametrize("codec", ["none", "gzip"])
    def test_of_older_formats(self, magic: int, codec: str) -> None:
        found, after = read(old_batch(magic, MANY, codec) + batch(len(MANY), MANY[:2]), position=3)
        assert found[:2] == [(3, b"key3", b"value3"), (4, b"key4", b"value4")]
        assert (found[-1][0], after) == (len(MANY) + 1, len(MANY) + 2)

    def test_without_a_record_move_the_position(self) -> None:
        assert read(batch(4, [], tail_offsets=5), 4) == ([], 10)
        assert read(batch(4, MANY, control=True), 4) == ([], 4 + len(MANY))

    def test_of_nothing(self) -> None:
        assert read(b"", 3) == ([], 3)

    def test_that_were_read_before_are_no_records(self) -> None:
        assert read(batch(0, MANY), position=len(MANY) + 5) == ([], len(MANY) + 5)


class TestDamage:
    def test_of_the_first_batch_is_an_error(self) -> None:
        with pytest.raises(CorruptRecordException, match="checksum"):
            read(damaged(batch(0, MANY)) + batch(len(MANY), MANY))

    def test_further_on_ends_the_reading_before_it(self) -> None:
        found, after = read(batch(0, MANY) + damaged(batch(len(MANY), MANY)))
        assert (len(found), after) == (len(MANY), len(MANY))

    def test_behind_a_batch_of_markers_ends_the_reading_before_it(self) -> None:
        assert read(batch(0, MANY[:2], control=True) + damaged(batch(2, MANY))) == ([], 2)

    def test_is_not_looked_for_if_so_set(self) -> None:
        records, _ = read_records(damaged(batch(0, [Item(skipped=1), *MANY])), 0, check_crcs=False)
        assert len(listed(records)) == len(MANY) + 1

    @pytest.mark.parametrize(
        ("at", "byte"),
        [(0, 0), (0, 1), (0, 126), (0, 200), (4, 126), (8, 126), (4, 255)],
        ids=["no length", "minus", "too long", "far too long", "key too long", "value too long", "endless number"],
    )
    def test_under_a_right_checksum_is_an_error(self, at: int, byte: int) -> None:
        with pytest.raises(CorruptRecordException):
            read(malformed([Item(b"\xff" * 3, b"\xff" * 9)] * 3, at, byte))

    def test_of_the_last_length_which_does_not_end_is_an_error(self) -> None:
        data = bytearray(batch(0, MANY))
        size = len(data) - len(batch(0, MANY[:-1]))
        data[-size:] = b"\x80" * (size - 1) + b"\x01"
        with pytest.raises(CorruptRecordException):
            read(sealed(data))

    def test_of_the_number_of_records_is_an_error(self) -> None:
        data = bytearray(batch(0, MANY))
        data[60] -= 1
        with pytest.raises(CorruptRecordException):
            read(sealed(data))

    def test_of_a_length_that_leaves_no_room_for_a_head_is_an_error(self) -> None:
        with pytest.raises(CorruptRecordException, match="head"):
            read(bytes(11) + b"\x05" + bytes(4) + b"\x02")


def test_pairs_are_keys_and_values_of_what_has_a_key() -> None:
    found = [(b"a", b"1"), (None, b"2"), (b"", b""), (b"b", None)]
    records = Records.of([SimpleNamespace(offset=offset, key=k, value=v) for offset, (k, v) in enumerate(found)])
    assert list(records.pairs()) == [(b"a", b"1"), (b"", b""), (b"b", None)]
    assert list(records.pairs(2)) == [(b"", b""), (b"b", None)]
