"""Made-up trades written at an even pace, and what the candles of their log must be."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice, takewhile

from oracle import Expected, Key, assert_candles, expected_candles, is_accepted

from stockstream.core.interval import INTERVALS_MS
from stockstream.core.offline import OfflineEngine
from stockstream.models import Tick
from stockstream.testing.system import System
from stockstream.testing.wait import wait_until

SYMBOLS = [f"BINANCE:COIN{number}" for number in range(60)]
WITHOUT_IDS = set(SYMBOLS[:5])
STEP_MS = 17  # of event time from tick to tick
BEGIN_MS = int(datetime(2024, 3, 5, 23, 54, 30, tzinfo=UTC).timestamp() * 1000)
FLUSH_MS = int(datetime(2024, 3, 7, 0, 10, tzinfo=UTC).timestamp() * 1000)
CLOSE_DELAY_MS = 5000
LATEST_MS = 300_000
_BATCH_S = 0.02
_STALLED_S = 120


def market(seed: int, count: int, late: float = 0.0, has_ids: bool = True, step_ms: float = STEP_MS) -> Iterator[Tick]:
    """Trades of all symbols, up to four seconds out of order, one in fifty delivered twice.

    This share of them is ``late``: by up to five minutes, so that it changes candles that have closed. Without ids none
    comes twice. ``step_ms`` of event time lie between two of them.
    """
    without_ids = WITHOUT_IDS if has_ids else set(SYMBOLS)
    rng = random.Random(seed)
    price = {symbol: rng.uniform(0.01, 900) for symbol in SYMBOLS}
    ids: Counter[str] = Counter()
    before: deque[Tick] = deque(maxlen=100)
    for n in range(count):
        symbol = rng.choice(SYMBOLS)
        received = BEGIN_MS + int(n * step_ms)
        if n > 100 and rng.random() < 0.02:
            again = before[-rng.randrange(1, 100)]
            if again.symbol not in without_ids:
                before.append(replace(again, producer_timestamp=received))
                yield before[-1]
                continue
        price[symbol] *= 1 + rng.gauss(0, 0.001)
        ids[symbol] += rng.choice((1, 1, 1, 7))
        is_late = late > 0 and rng.random() < late
        before.append(
            Tick(
                symbol,
                received - rng.randrange(LATEST_MS if is_late else 4000),
                round(price[symbol], 6),
                round(rng.expovariate(0.1), 8),
                trade_id=-1 if symbol in without_ids else ids[symbol],
                producer_timestamp=received,
                exchange="binance",
                source="binance",
            )
        )
        yield before[-1]


def last_trades() -> list[Tick]:
    """One trade of every symbol a day later, which ends every window before it."""
    return [
        Tick(symbol, FLUSH_MS, 1.0, 1.0, trade_id=1, producer_timestamp=FLUSH_MS, exchange="binance", source="binance")
        for symbol in SYMBOLS
    ]


class Load:
    """``count`` ticks, written by a thread at an even pace that takes ``seconds``; what brokers held up comes after."""

    def __init__(self, system: System, ticks: Iterable[Tick], count: int, seconds: float) -> None:
        self._system, self._ticks, self._count, self._seconds = system, ticks, count, seconds
        self._error: BaseException | None = None
        self._ends = threading.Event()
        self._sent = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            encode, topic = self._system.encoder(), self._system.topic("yfinance")
            ticks, began_s = iter(self._ticks), time.monotonic()
            while self._sent < self._count and not self._ends.wait(_BATCH_S):
                due = min(self._count, int((time.monotonic() - began_s) / self._seconds * self._count))
                batch = islice(ticks, due - self._sent)
                records = [(tick.symbol.encode(), encode(tick)) for tick in batch]
                self._system.topics.produce(topic, records, timeout_s=_STALLED_S)  # brokers may be away
                self._sent = due
        except BaseException as error:
            self._error = error

    def has_sent(self, share: float) -> bool:
        """Whether this share of the ticks is in the log; raises what ended the writing."""
        if self._error is not None:
            raise self._error
        return self._sent >= share * self._count

    def wait(self, share: float) -> None:
        """Until this share of the ticks is in the log."""
        wait_until(lambda: self.has_sent(share), self._seconds + _STALLED_S, f"{share:.0%} of the load")

    def stop(self) -> None:
        """Write no more."""
        self._ends.set()
        self._thread.join()


def expectation(system: System) -> dict[Key, Expected]:
    """What the log of the tick topic must come to, by the reference, to which the engine offline agrees."""
    return expectation_of(system.tick_log())


def expectation_of(logs: Mapping[int, Sequence[tuple[int, Tick]]]) -> dict[Key, Expected]:
    """The same of the offsets and ticks of each partition, some of which may be missing."""
    expected: dict[Key, Expected] = {}
    for whole in logs.values():
        of_partition = expected_candles(whole, closed_before_ms=FLUSH_MS - CLOSE_DELAY_MS)
        log = [(offset, tick) for offset, tick in whole if is_accepted(tick)]  # offline no tick is late
        expected |= of_partition
        engine = OfflineEngine()
        rng, done = random.Random(len(log)), 0
        while done < len(log):
            batch = _without_hole(log[done : done + rng.randrange(1, 500)])
            engine.add([tick for _, tick in batch], first_offset=batch[0][0])
            done += len(batch)
        engine.finish()
        made = {candle.key: candle for interval in INTERVALS_MS for candle, _ in engine.candles(interval)}
        assert_candles(of_partition, made, "the engine offline")
    return expected


def _without_hole(batch: Sequence[tuple[int, Tick]]) -> Sequence[tuple[int, Tick]]:
    """Those up to the first offset that does not follow the one before."""
    first = batch[0][0]
    follow = takewhile(lambda at: batch[at][0] == first + at, range(len(batch)))
    return batch[: sum(1 for _ in follow)]
