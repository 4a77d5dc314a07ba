"""A print that comes late, at every stage of its candle: what becomes of it, of its candle and of those that follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from crashing import Host, log_of

from stockstream.agents.partition import Partition
from stockstream.codecs.avro import TickDecoder
from stockstream.core.offline import OfflineEngine
from stockstream.core.verdict import Policy
from stockstream.models import Candle, Latest, Tick, Verdict
from stockstream.models.records import Records
from stockstream.tables import Tables

SECOND, MINUTE, DAY = 1000, 60_000, 86_400_000
QUARTER = 15 * MINUTE
DAY_MS = 20_000 * DAY
NOON_MS = DAY_MS + DAY // 2
CLOSE_DELAY_MS, RETENTION_MS = 5 * MINUTE, 2 * DAY
LATE_BY = {"10 s": 10 * SECOND, "10 min": 10 * MINUTE, "20 min": 20 * MINUTE, "31 min": 31 * MINUTE}
ENDED_BY = {"forming": None, "closed": DAY_MS + DAY + 10 * MINUTE, "evicted": DAY_MS + 5 * DAY}
"""When the tick before the late one happened, which ends the candles of the day before, and takes the place of rows."""

WINDOW = ("A", "1m", "regular", NOON_MS)
NEXT = ("A", "1m", "regular", NOON_MS + MINUTE)
FIVE = ("A", "5m", "regular", NOON_MS)
DATE = ("A", "1d", "regular", DAY_MS)
Make = Callable[..., Tick]
Key = tuple[str, str, str, int]


def trade(event_ms: int, price: float, number: int, volume: int) -> Tick:
    """``volume`` is what a vendor would have counted by then; a trade tells its own size alone."""
    return Tick("A", event_ms, price, float(number), trade_id=number, exchange="SLOW")


def snapshot(event_ms: int, price: float, number: int, volume: int) -> Tick:
    return Tick("A", event_ms, price, day_volume=volume, kind="snapshot", exchange="SLOW")


def received(tick: Tick, late_ms: int = 0) -> Tick:
    return replace(tick, producer_timestamp=tick.event_time + late_ms)


def log_with(make: Make, stage: str, late_ms: int) -> list[Tick]:
    """Subscribed before the date began; a print at noon, one in the next minute, maybe one days later; the late one."""
    ended_ms = ENDED_BY[stage]
    log = [
        Tick("A", DAY_MS - MINUTE, kind="start", exchange="SLOW"),
        received(make(NOON_MS + 10 * SECOND, 10.0, 1, 100)),
        received(make(NOON_MS + 70 * SECOND, 11.0, 2, 180)),
    ]
    if ended_ms is not None:
        log.append(received(make(ended_ms, 12.0, 3, 7)))
    return [*log, received(make(NOON_MS + 40 * SECOND, 50.0, 4, 130), late_ms)]


def policy(delay_ms: int) -> Policy:
    return Policy(accepted_lateness_ms=QUARTER, feed_delay_ms={"SLOW": delay_ms} if delay_ms else {})


@dataclass
class Live:
    """A partition that is given the log record by record, and all that it published."""

    partition: Partition
    decoder: TickDecoder
    published: dict[Key, list[Candle]] = field(default_factory=dict)
    letters: list[tuple[int, str]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def take(self, offset: int, tick: Tick) -> None:
        body = {name: value for name, value in asdict(tick).items() if value is not None}
        record = SimpleNamespace(key=b"A", value=json.dumps(body).encode(), offset=offset)
        outcome, verdicts = self.partition.apply("ticks", Records.of([record]), self.decoder, offset, 0)
        self.partition.save()
        self.verdicts += verdicts
        self.letters += [(letter.offset, letter.reason) for letter in outcome.letters]
        for candle in outcome.candles:
            self.published.setdefault(candle.key, []).append(candle)

    @property
    def candles(self) -> dict[Key, Candle]:
        return {key: states[-1] for key, states in self.published.items()}


@pytest.fixture
def live(
    tables: Tables, rules: Callable[..., Any], decoder: TickDecoder, encode_latest: Callable[[Latest], bytes]
) -> Callable[[list[Tick], int], Live]:
    def through(log: list[Tick], delay_ms: int) -> Live:
        made = rules(policy=policy(delay_ms), close_delay_ms=CLOSE_DELAY_MS, retention_ms=RETENTION_MS)
        found = Live(Partition(0, tables, made, encode_latest, {"ticks": 0}, 0), decoder)
        for offset, tick in enumerate(log):
            found.take(offset, tick)
        return found

    return through


def expected_verdict(stage: str, late_ms: int, delay_ms: int) -> Verdict:
    if late_ms > QUARTER + delay_ms:
        return Verdict.LATE
    return Verdict.EXPIRED if stage == "evicted" else Verdict.ACCEPTED


def values(candle: Candle) -> tuple[Any, ...]:
    return (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades)


def replayed(log: list[Tick], delay_ms: int) -> Host:
    """The log read at once, as columns, with nothing evicted yet when the late print comes."""
    host = Host(policy=policy(delay_ms), close_delay_ms=CLOSE_DELAY_MS, retention_ms=RETENTION_MS, columnar=True)
    host.feed(log_of(log))
    return host


def assert_alike(found: Live, replay: Host) -> None:
    assert list(replay.verdicts.values()) == found.verdicts
    assert {key: (values(each), each.version) for key, each in replay.sink.items()} == {
        key: (values(each), each.version) for key, each in found.candles.items()
    }


PLAIN: dict[tuple[Make, Key], tuple[Any, ...]] = {
    (trade, WINDOW): (10.0, 10.0, 10.0, 10.0, 1.0, 1),
    (trade, NEXT): (11.0, 11.0, 11.0, 11.0, 2.0, 1),
    (trade, FIVE): (10.0, 11.0, 10.0, 11.0, 3.0, 2),
    (trade, DATE): (10.0, 11.0, 10.0, 11.0, 3.0, 2),
    (snapshot, WINDOW): (10.0, 10.0, 10.0, 10.0, 100.0, None),
    (snapshot, NEXT): (11.0, 11.0, 11.0, 11.0, 80.0, None),
    (snapshot, FIVE): (10.0, 11.0, 10.0, 11.0, 180.0, None),
    (snapshot, DATE): (10.0, 11.0, 10.0, 11.0, 180.0, None),
}
"""The candles without the late print."""

CHANGED: dict[tuple[Make, Key], tuple[Any, ...]] = {
    (trade, WINDOW): (10.0, 50.0, 10.0, 50.0, 5.0, 2),
    (trade, FIVE): (10.0, 50.0, 10.0, 11.0, 7.0, 3),
    (trade, DATE): (10.0, 50.0, 10.0, 11.0, 7.0, 3),
    (snapshot, WINDOW): (10.0, 50.0, 10.0, 50.0, 130.0, None),
    (snapshot, NEXT): (11.0, 11.0, 11.0, 11.0, 50.0, None),
    (snapshot, FIVE): (10.0, 50.0, 10.0, 11.0, 180.0, None),
    (snapshot, DATE): (10.0, 50.0, 10.0, 11.0, 180.0, None),
}
"""Those that the late print changes, where it counts: it is the newest of its minute and no other's."""


@pytest.mark.parametrize("make", [trade, snapshot])
@pytest.mark.parametrize("stage", ENDED_BY)
@pytest.mark.parametrize("delay_ms", [0, QUARTER], ids=["no delay", "delay of 15 min"])
@pytest.mark.parametrize("late_ms", LATE_BY.values(), ids=LATE_BY)
class TestALatePrint:
    async def test_is_judged_and_merged_alike_live_and_in_a_replay(
        self, live: Callable[[list[Tick], int], Live], make: Make, stage: str, delay_ms: int, late_ms: int
    ) -> None:
        log = log_with(make, stage, late_ms)
        late_at = len(log) - 1
        verdict = expected_verdict(stage, late_ms, delay_ms)
        found = live(log, delay_ms)
        assert found.verdicts == [Verdict.ACCEPTED] * late_at + [verdict]
        assert found.letters == ([] if verdict is Verdict.ACCEPTED else [(late_at, verdict)])
        was_over = stage != "forming"
        for key in (WINDOW, NEXT, FIVE, DATE):
            states = found.published[key]
            versions = [candle.version for candle in states]
            assert versions == sorted(set(versions)), key
            changed = CHANGED.get((make, key)) if verdict is Verdict.ACCEPTED else None
            expected = ["forming", *(["closed"] if was_over else [])]
            if changed is not None:
                expected.append("amended" if was_over else "forming")
            told = list(dict.fromkeys(candle.state for candle in states))
            assert told == list(dict.fromkeys(expected)), key
            assert values(states[-1]) == (changed or PLAIN[make, key]), key
            assert (states[-1].version & ((1 << 55) - 1) == late_at) is (changed is not None), key
            assert (states[-1].partial, states[-1].gap, states[-1].corrected) == (False, False, False), key
        assert_alike(found, replayed(log, delay_ms))

    def test_is_taken_by_a_rebuild_whatever_live_did(self, make: Make, stage: str, delay_ms: int, late_ms: int) -> None:
        """Which turns lateness off and forgets no row; so a rebuild repairs what was `late` and what was `expired`."""
        engine = OfflineEngine(replace(policy(delay_ms), accepted_lateness_ms=None))
        assert set(engine.add(log_with(make, stage, late_ms))) == {Verdict.ACCEPTED}
        made = {candle.key: values(candle) for interval in ("1m", "5m", "1d") for candle, _ in engine.candles(interval)}
        for key in (WINDOW, NEXT, FIVE, DATE):
            assert made[key] == CHANGED.get((make, key), PLAIN[make, key])
