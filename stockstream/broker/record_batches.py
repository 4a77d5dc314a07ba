"""Kafka's record batches as they come in the answer to a fetch, read without an object a record.

Where records lie is a chain of their lengths, which is walked in Python; all else is read by numpy, one field of all
records at a time. Headers and times are not looked at. The format is told in Kafka's ``DefaultRecordBatch.java``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from aiokafka import codec
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from cramjam import DecompressionError
from numpy.typing import NDArray

from stockstream.models.records import Places, Records

_LENGTH = Struct(">8xi")
_HEAD = Struct(">q4x4xBIhi30xi")  # of format 2: base offset, magic, crc, attributes, last offset delta, record count
_MAGIC_AT, _CRC_FROM = 16, 21
_CODEC, _CONTROL = 0x07, 0x20
_UNPACK: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}
# What unpacking raises on bytes that are not packed so, and aiokafka's readers on records that are none.
_UNREADABLE = (
    ValueError,
    LookupError,
    OverflowError,
    EOFError,
    OSError,
    SystemError,
    struct.error,
    zlib.error,
    DecompressionError,
)
_FEW = 64  # up to so many records aiokafka's reader is done before numpy has begun
_LAST_SHIFT = 28  # of a 32-bit varint's fifth byte


class _Batch(NamedTuple):
    data: bytes
    base_offset: int
    magic: int
    crc: int
    attributes: int
    last_delta: int
    record_count: int


def read_records(data: bytes, position: int, *, check_crcs: bool = True) -> tuple[Records | None, int]:
    """The records at offset ``position`` and beyond, None if there are none, and the offset to go on from.

    ``data`` is whole record batches of any format, maybe with one at the end that is cut off, which is not read. A
    damaged batch ends the reading before it; where it is the first, `CorruptRecordException` is raised. So it is where
    a batch with the right checksum cannot be read, and `UnsupportedCodecError` where it is packed in a way not known.
    """
    records, after = _read(data, position, check_crcs)
    if records is None:
        return None, after
    if records.offsets[-1] >= after or (np.diff(records.offsets) <= 0).any():
        raise CorruptRecordException(f"the offsets of the records up to {after} do not ascend")
    first = int(np.searchsorted(records.offsets, position))
    return records.part(first, len(records)) if first < len(records) else None, after


def _read(data: bytes, position: int, check_crcs: bool) -> tuple[Records | None, int]:
    """The same with the records before ``position`` too, as batches are sent whole."""
    raw = _split(data)
    if any(batch[_MAGIC_AT] < 2 for batch in raw):
        return _read_one_by_one(raw, position, check_crcs)
    batches = [_Batch(batch, *_HEAD.unpack_from(batch)) for batch in raw]
    if sum(batch.record_count for batch in batches) <= _FEW:
        return _read_one_by_one(raw, position, check_crcs)
    read: list[_Batch] = []
    for batch in batches:
        if check_crcs and calc_crc32c(batch.data[_CRC_FROM:]) != batch.crc:
            if batch is batches[0]:
                raise CorruptRecordException(f"the batch at offset {batch.base_offset} does not have its checksum")
            break
        read.append(batch)
    records = _parse([batch for batch in read if not batch.attributes & _CONTROL and batch.record_count])
    # Beyond the last offset of the batch, which its last record need not have: compaction may have removed that.
    return records, max(position, read[-1].base_offset + read[-1].last_delta + 1) if read else position


def _split(data: bytes) -> list[bytes]:
    """The whole batches in ``data``."""
    batches, begin = [], 0
    while begin + _LENGTH.size <= len(data):
        end = begin + _LENGTH.size + _LENGTH.unpack_from(data, begin)[0]
        if end > len(data):
            break
        if end - begin <= _MAGIC_AT or (data[begin + _MAGIC_AT] >= 2 and end - begin < _HEAD.size):
            raise CorruptRecordException(f"a batch has {end - begin} bytes, which is less than its head")
        batches.append(data[begin:end])
        begin = end
    return batches


def _read_one_by_one(raw: Sequence[bytes], position: int, check_crcs: bool) -> tuple[Records | None, int]:
    """The same by aiokafka's own readers, which know the older formats too."""
    records: list[Any] = []
    for data in raw:
        try:
            # Of one batch: it takes a mixture of formats for all of the first's.
            batch = MemoryRecords(data).next_batch()
            if batch is None:
                break
            if check_crcs and not batch.validate_crc():
                if data is raw[0]:
                    raise CorruptRecordException(f"the batch read at offset {position} does not have its checksum")
                break
            if not batch.is_control_batch:
                records += batch
            position = max(position, batch.next_offset)
        except _UNREADABLE as error:
            raise CorruptRecordException(f"the batch read at offset {position}: {error}") from error
    return Records.of(records) if records else None, position


def _parse(batches: Sequence[_Batch]) -> Records | None:
    """The records of batches of format 2."""
    if not batches:
        return None
    try:
        return _places(
            [_body(batch) for batch in batches],
            [batch.record_count for batch in batches],
            [batch.base_offset for batch in batches],
        )
    except _UNREADABLE as error:
        raise CorruptRecordException(f"the batches from offset {batches[0].base_offset} on: {error}") from error


def _body(batch: _Batch) -> bytes:
    unpack = _UNPACK.get(batch.attributes & _CODEC)
    if unpack is None:
        raise UnsupportedCodecError(f"the batch at offset {batch.base_offset} is compressed in a way not known")
    return unpack(batch.data[_HEAD.size :])


def _places(bodies: Sequence[bytes], counts: Sequence[int], base_offsets: Sequence[int]) -> Records:
    """Where everything is in the bodies of batches."""
    data = b"".join(bodies)
    if min(counts) < 0 or sum(counts) > len(data):
        raise ValueError("there cannot be as many records as the head says")
    buffer = np.frombuffer(data, np.uint8)
    ends = np.array(_ends(data, sum(counts)), np.int64)
    if not np.array_equal(ends[np.cumsum(counts) - 1], np.cumsum([len(body) for body in bodies])):
        raise ValueError("not as many records as the head says")
    begins = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
    at = _skip_varint(buffer, begins) + 1  # the length, and a byte of attributes that have no use yet
    at = _skip_varint(buffer, at)  # the time
    delta, at = _varint(buffer, at)
    key_begin, key_end, at = _part(buffer, at)
    value_begin, value_end, at = _part(buffer, at)
    if not (at < ends).all():  # at least the number of headers follows
        raise ValueError("a key or value is longer than its record")
    offsets = np.repeat(np.array(base_offsets, np.int64), counts) + delta
    return Records(data, offsets, key_begin, key_end, value_begin, value_end)


def _ends(data: bytes, count: int) -> list[int]:
    """Where each of ``count`` records ends: all but its length's own bytes is what its length says."""
    ends, at = [0] * count, 0
    for i in range(count):
        first = data[at]
        if first < 0x80:
            at += (first >> 1) + 1
        elif (second := data[at + 1]) < 0x80:
            at += (first >> 1) + (second << 6) - 62  # what two bytes say, halved, and they themselves
        else:
            at = _end_of_long(data, at)
        ends[i] = at
    return ends


def _end_of_long(data: bytes, at: int) -> int:
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at + (length >> 1)
        shift += 7


def _part(buffer: NDArray[np.uint8], at: Places) -> tuple[Places, Places, Places]:
    """Begin and end of the key or value whose length is at ``at``, -1 where there is none, and where it goes on."""
    length, at = _varint(buffer, at)
    is_there = length >= 0
    if is_there.all():
        return at, at + length, at + length
    end = at + length * is_there
    return np.where(is_there, at, -1), np.where(is_there, end, -1), end


def _varint(buffer: NDArray[np.uint8], at: Places) -> tuple[Places, Places]:
    """The 32-bit varints at ``at``, and where each ends."""
    byte = buffer[at].astype(np.int64)
    value, at, shift = byte & 0x7F, at + 1, 7
    goes_on = byte > 0x7F
    while goes_on.any():
        if shift > _LAST_SHIFT:
            raise ValueError("a varint has more than five bytes")
        byte = np.where(goes_on, buffer[at], 0).astype(np.int64)
        value |= (byte & 0x7F) << shift
        at = at + goes_on
        goes_on = byte > 0x7F
        shift += 7
    return (value >> 1) ^ -(value & 1), at


def _skip_varint(buffer: NDArray[np.uint8], at: Places) -> Places:
    goes_on, at = buffer[at] > 0x7F, at + 1
    while goes_on.any():
        ends, at = buffer[at] <= 0x7F, at + goes_on
        goes_on &= ~ends
    return at
