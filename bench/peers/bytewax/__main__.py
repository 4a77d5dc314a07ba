"""The same candles by Bytewax: three folds over tumbling windows, recovery by snapshots to SQLite every two seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as windowing
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, run_main

from bench.peers.peer import INTERVALS_MS, Row, Tick, Window, arguments, decoder, write_candles

ALIGNED = datetime(2025, 1, 1, tzinfo=UTC)
# With none it loses ticks: its watermark moves with the system's clock too.
WAIT = timedelta(seconds=10)
EPOCH = timedelta(seconds=2)


def main() -> None:
    given = arguments()
    decode = decoder(given.schema)
    window = Window()
    found: list[tuple[str, tuple[str, int, Row]]] = []

    def ticks(messages: list[Any]) -> list[tuple[str, Tick]]:
        window.begin()
        decoded = [decode(message.value) for message in messages]
        return [(tick["symbol"], tick) for tick in decoded]

    flow = Dataflow("candles")
    source = KafkaSource(
        [given.bootstrap], [given.topic], tail=False, batch_size=5000, add_config={"fetch.queue.backoff.ms": "5"}
    )
    keyed = op.flat_map_batch("decode", op.input("in", flow, source), ticks)
    clock = windowing.EventClock(lambda tick: datetime.fromtimestamp(tick["event_time"] / 1000, UTC), WAIT)
    for interval, length_ms in INTERVALS_MS.items():
        tumbling = windowing.TumblingWindower(timedelta(milliseconds=length_ms), ALIGNED)
        folded = windowing.fold_window(f"fold_{interval}", keyed, clock, tumbling, list, fold, merge, ordered=False)
        rows = op.map(f"name_{interval}", folded.down, named(interval, length_ms))
        op.output(f"out_{interval}", rows, TestingSink(found))
    recovery = given.folder / "recovery"
    recovery.mkdir()
    init_db_dir(recovery, 1)
    run_main(flow, epoch_interval=EPOCH, recovery_config=RecoveryConfig(str(recovery)))
    rows_found = {(symbol, interval, start): row for symbol, (interval, start, row) in found}
    window.end(lambda: write_candles(given.folder, rows_found))


def fold(row: Row, tick: Tick) -> Row:
    price, size = tick["price"], tick["last_size"]
    if not row:
        return [price, price, price, price, size, 1]
    return [row[0], max(row[1], price), min(row[2], price), price, row[4] + size, row[5] + 1]


def merge(one: Row, other: Row) -> Row:
    raise AssertionError("tumbling windows do not merge")


def named(interval: str, length_ms: int) -> Any:
    base_ms = int(ALIGNED.timestamp() * 1000)

    def name(keyed: tuple[str, tuple[int, Row]]) -> tuple[str, tuple[str, int, Row]]:
        symbol, (number, row) = keyed
        return symbol, (interval, base_ms + number * length_ms, row)

    return name


if __name__ == "__main__":
    main()
