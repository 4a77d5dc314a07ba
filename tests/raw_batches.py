"""Record batches as brokers store them, made by aiokafka's own builders and changed by hand where it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_HEAD_BYTES = 61


class Item(NamedTuple):
    """One record; ``skipped`` offsets before it have none."""

    key: bytes | None = b"A"
    value: bytes | None = b"value"
    time_ms: int = 1_700_000_000_000
    headers: list[tuple[str, bytes | None]] = []  # noqa: RUF012 - of a tuple: never changed
    skipped: int = 0


def batch(
    base_offset: int, items: Sequence[Item], codec: str = "none", *, control: bool = False, tail_offsets: int = 0
) -> bytes:
    """One batch of format 2; ``tail_offsets`` behind its last record belong to it and have no record."""
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], 0, -1, -1, -1, 10**9)
    offset = -1
    for item in items:
        offset += 1 + item.skipped
        builder.append(offset, item.time_ms, item.key, item.value, item.headers)
    data = bytearray(builder.build())
    data[0:8] = base_offset.to_bytes(8, "big")
    data[22] |= 0x20 * control
    data[23:27] = (max(offset, 0) + tail_offsets).to_bytes(4, "big")
    return sealed(data)


def sealed(data: bytearray) -> bytes:
    """A batch whose bytes were changed, with the checksum that fits them."""
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    return bytes(data)


def damaged(data: bytes) -> bytes:
    """A batch with a byte of its records flipped, and not its checksum."""
    return data[:_HEAD_BYTES] + bytes([data[_HEAD_BYTES] ^ 1]) + data[_HEAD_BYTES + 1 :]


def malformed(items: Sequence[Item], at: int, byte: int) -> bytes:
    """A batch whose producer wrote ``byte`` at ``at`` of its records, and sealed it."""
    data = bytearray(batch(0, items))
    data[_HEAD_BYTES + at] = byte
    return sealed(data)


def old_batch(magic: int, items: Sequence[Item], codec: str = "none") -> bytes:
    """A message set of format 0 or 1, from offset 0 on."""
    builder: Any = LegacyRecordBatchBuilder(magic, CODECS[codec], 10**9)
    for offset, item in enumerate(items):
        builder.append(offset, item.time_ms, item.key, item.value)
    return bytes(builder.build())
