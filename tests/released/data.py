"""The data of a release, as they lie in a folder: what its worker left, and what it came to."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stockstream.models import Candle
from stockstream.testing.topics import Record

FOLDER = Path(__file__).parents[1] / "data" / "releases"
_NOT_KEPT = (".lock", "LOCK", "LOG")  # what RocksDB makes anew, and what it has told

Placed = tuple[str, Record]
"""A record, and the topic that it lies in."""


@dataclass(frozen=True)
class Release:
    """What there is to know of a release's system beside its records."""

    version: str
    commit: str
    app_id: str
    topic_prefix: str
    partitions: int
    tick_topics: list[str]
    topics: dict[str, str]
    """The cleanup policy of each topic, by its name on the broker."""
    committed: list[tuple[str, int, int]] = field(default_factory=list)
    """What the workers' group had committed: topic, partition, offset."""

    @property
    def folder(self) -> Path:
        """Where its data are."""
        return FOLDER / self.version

    def write(self) -> None:
        """Begin the folder."""
        (self.folder / "topics").mkdir(parents=True, exist_ok=True)
        _write_json(self.folder / "release.json", asdict(self))


def releases() -> list[str]:
    """The versions that there are data of."""
    return sorted(path.parent.name for path in FOLDER.glob("*/release.json"))


def read_release(version: str) -> Release:
    found: dict[str, Any] = json.loads((FOLDER / version / "release.json").read_text())
    return Release(**found | {"committed": [tuple(each) for each in found["committed"]]})


def write_schemas(release: Release, schemas: Iterable[Mapping[str, Any]]) -> None:
    """``subject``, ``id`` and ``schema`` of each, in the order in which they were registered."""
    _write_json(release.folder / "schemas.json", list(schemas))


def read_schemas(release: Release) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((release.folder / "schemas.json").read_text())
    return found


def write_records(file: Path, records: Iterable[Placed]) -> None:
    """A JSON object a line; keys, values and headers in base64."""
    file.write_text("".join(json.dumps(_as_json(*placed)) + "\n" for placed in records))


def read_records(file: Path) -> list[Placed]:
    return [_of_json(json.loads(line)) for line in file.read_text().splitlines()]


def topic_file(release: Release, topic: str) -> Path:
    return release.folder / "topics" / f"{topic}.jsonl"


def away_file(release: Release) -> Path:
    """What was written to the tick topics when the worker had ended."""
    return release.folder / "away.jsonl"


def later_file(release: Release) -> Path:
    """What was written to them when it ran again."""
    return release.folder / "later.jsonl"


def write_candles(release: Release, name: str, candles: Iterable[Candle]) -> None:
    """Candles as they stand in the topic, one a line."""
    lines = (json.dumps(asdict(candle)) for candle in sorted(candles, key=lambda candle: candle.key))
    (release.folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def read_candles(release: Release, name: str) -> dict[tuple[str, str, str, int], Candle]:
    lines = (release.folder / f"{name}.jsonl").read_text().splitlines()
    return {candle.key: candle for candle in (Candle(**json.loads(line)) for line in lines)}


def pack(release: Release, data: Path) -> None:
    """Keep a worker's data folder; two of the same content are the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(data.rglob("*")):
            if path.is_file() and not path.name.startswith(_NOT_KEPT):
                info = tarfile.TarInfo(str(path.relative_to(data)))
                info.size = path.stat().st_size
                tar.addfile(info, io.BytesIO(path.read_bytes()))
    _state_file(release).write_bytes(lzma.compress(packed.getvalue(), preset=9 | lzma.PRESET_EXTREME))


def unpack(release: Release, data: Path) -> None:
    """Make the data folder."""
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(_state_file(release).read_bytes()))) as tar:
        tar.extractall(data, filter="data")


def _state_file(release: Release) -> Path:
    return release.folder / "state.tar.xz"


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=1) + "\n")


def _as_json(topic: str, record: Record) -> dict[str, Any]:
    return {
        "topic": topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": {name: _text(_bytes(value)) for name, value in record.headers.items()},
    }


def _of_json(found: Mapping[str, Any]) -> Placed:
    headers = {name: _decoded(value) for name, value in found["headers"].items()}
    record = Record(
        found["partition"],
        found["offset"],
        found["timestamp_ms"],
        _decoded(found["key"]),
        _decoded(found["value"]),
        dict(headers),
    )
    return found["topic"], record


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _text(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def values_of(records: Iterable[Placed], topic: str) -> Iterator[bytes]:
    """The values that lie in a topic."""
    for place, record in records:
        if place == topic and record.value is not None:
            yield record.value
