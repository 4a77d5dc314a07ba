"""The ledger of gaps as a worker tells it, and whether candles are those of trades of which none is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reference import reference_candles

from stockstream.models import Candle, Tick
from stockstream.testing.system import CandleKey, WorkerProcess
from stockstream.testing.wait import wait_until_async

_TOLD_S, _REPAIRED_S = 60, 120


def told(worker: WorkerProcess, query: str = "") -> list[dict[str, Any]]:
    """What ``/gaps`` of a worker answers, nothing while it does not."""
    status, answer = worker.get(f"/gaps{query}")
    return answer["gaps"] if status == 200 else []


async def until_told(worker: WorkerProcess, cause: str, count: int) -> None:
    await wait_until_async(
        lambda: sum(cause in gap["cause"] for gap in told(worker)) >= count, _TOLD_S, f"{count} holes of cause {cause}"
    )


async def until_repaired(worker: WorkerProcess) -> None:
    def are_repaired() -> bool:
        gaps = told(worker)
        return bool(gaps) and all(gap["state"] == "repaired" for gap in gaps)

    await wait_until_async(are_repaired, _REPAIRED_S, "all to be repaired")


def assert_made_of(ticks: Iterable[Tick], found: Mapping[CandleKey, Candle], where: str) -> None:
    """The candles are those of all of these trades, and no hole reaches into any."""
    expected = reference_candles(enumerate(ticks))
    assert found.keys() == expected.keys(), where
    for key, candle in found.items():
        right = expected[key]
        assert (candle.open, candle.high, candle.low, candle.close) == (right.open, right.high, right.low, right.close)
        assert (candle.trades, candle.volume) == (right.trades, float(right.volume or 0)), f"{where}: {candle}"
        assert not candle.gap, f"{where}: {candle}"
