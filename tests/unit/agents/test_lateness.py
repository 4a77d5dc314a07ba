"""A print that comes late, at every stage of its candle: what becomes of it, of its candle and of those that follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from crashing import Host, log_of
from lateness import CASES, CLOSE_DELAY_MS, RETENTION_MS, WINDOWS, Case, Key, policy, values_of

from stockstream.agents.partition import Partition
from stockstream.codecs.avro import TickDecoder
from stockstream.core.offline import OfflineEngine
from stockstream.models import Candle, Latest, Tick, Verdict
from stockstream.models.records import Records
from stockstream.tables import Tables

OFFSETS = (1 << 55) - 1
"""What of a version is the offset."""


@dataclass
class Live:
    """A partition that is given a log record by record, and all that it published."""

    partition: Partition
    decoder: TickDecoder
    published: dict[Key, list[Candle]] = field(default_factory=dict)
    letters: list[tuple[int, str]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def take(self, offset: int, tick: Tick) -> None:
        body = {name: value for name, value in asdict(tick).items() if value is not None}
        record = SimpleNamespace(key=tick.symbol.encode(), value=json.dumps(body).encode(), offset=offset)
        outcome, verdicts = self.partition.apply("ticks", Records.of([record]), self.decoder, offset, 0)
        self.partition.save()
        self.verdicts += verdicts
        self.letters += [(letter.offset, letter.reason) for letter in outcome.letters]
        for candle in outcome.candles:
            self.published.setdefault(candle.key, []).append(candle)


@pytest.fixture
def live(
    tables: Tables, rules: Callable[..., Any], decoder: TickDecoder, encode_latest: Callable[[Latest], bytes]
) -> Callable[[list[Tick]], Live]:
    def through(log: list[Tick]) -> Live:
        made = rules(policy=policy(), close_delay_ms=CLOSE_DELAY_MS, retention_ms=RETENTION_MS)
        found = Live(Partition(0, tables, made, encode_latest, {"ticks": 0}, 0), decoder)
        for offset, tick in enumerate(log):
            found.take(offset, tick)
        return found

    return through


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.symbol.lower())
async def test_a_late_print_is_judged_and_merged_alike_live_and_in_a_replay(
    live: Callable[[list[Tick]], Live], case: Case
) -> None:
    log = case.log()
    late_at = len(log) - 1
    found = live(log)
    assert found.verdicts == [Verdict.ACCEPTED] * late_at + [case.verdict]
    assert found.letters == ([] if case.verdict is Verdict.ACCEPTED else [(late_at, case.verdict)])
    for window in WINDOWS:
        states = found.published[case.key(window)]
        versions = [candle.version for candle in states]
        assert versions == sorted(set(versions)), window
        assert list(dict.fromkeys(candle.state for candle in states)) == case.states(window), window
        assert values_of(states[-1]) == case.values(window), window
        assert (states[-1].version & OFFSETS == late_at) is case.is_changed(window), window
        assert (states[-1].partial, states[-1].gap, states[-1].corrected) == (False, False, False), window
    kept = {candle.key for candle in found.partition.candles("1m", case.symbol, 99)}
    assert (case.key("minute") in kept) is (case.stage != "evicted")
    assert_alike(found, replayed(log))


def replayed(log: list[Tick]) -> Host:
    """The log read at once, as columns, with nothing evicted yet when the late print comes."""
    host = Host(policy=policy(), close_delay_ms=CLOSE_DELAY_MS, retention_ms=RETENTION_MS, columnar=True)
    host.feed(log_of(log))
    return host


def assert_alike(found: Live, replay: Host) -> None:
    assert list(replay.verdicts.values()) == found.verdicts
    last = {key: (values_of(states[-1]), states[-1].version) for key, states in found.published.items()}
    assert {key: (values_of(candle), candle.version) for key, candle in replay.sink.items()} == last


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.symbol.lower())
def test_a_late_print_is_taken_by_a_rebuild_whatever_live_did(case: Case) -> None:
    """Which turns lateness off and forgets no row; so it repairs what was `late` and what was `expired`."""
    engine = OfflineEngine(replace(policy(), accepted_lateness_ms=None))
    assert set(engine.add(case.log())) == {Verdict.ACCEPTED}
    made = {candle.key: values_of(candle) for each in ("1m", "5m", "1d") for candle, _ in engine.candles(each)}
    for window in WINDOWS:
        assert made[case.key(window)] == case.counted(window)
