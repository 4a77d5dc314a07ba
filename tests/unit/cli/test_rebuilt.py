"""What a rebuild would change, told by a log that is folded twice."""

from __future__ import annotations

import pytest
from columns import parted
from crashing import log_of
from lateness import CASES, CLOSE_DELAY_MS, NOON_MS, RETENTION_MS, WINDOWS, Case, policy

from stockstream.cli.rebuilt import Rebuilt
from stockstream.cli.times import Span
from stockstream.core.interval import EXTENDED, INTERVALS_MS, REGULAR
from stockstream.core.rules import CandleRules
from stockstream.models import Tick, Verdict

RULES = CandleRules(policy(), close_delay_ms=CLOSE_DELAY_MS, retention_ms=RETENTION_MS, epoch=0)
PARTITION = 3


def rebuilt(log: list[Tick], span: Span) -> Rebuilt:
    made = Rebuilt(RULES, span)
    for stamped in log_of(log):
        ticks, columns = parted([stamped])
        made.add(PARTITION, ticks, columns)
    made.end()
    return made


@pytest.mark.parametrize("interval", INTERVALS_MS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.symbol.lower())
def test_it_is_what_was_refused_for_its_time_alone(case: Case, interval: str) -> None:
    log = case.log()
    found = rebuilt(log, Span(interval))
    changes = {change.differences[0].start_ms: change for change in found.changes(REGULAR)}
    expected = {
        key[3]: window
        for window in WINDOWS
        if (key := case.key(window))[1] == interval and case.values(window) != case.counted(window)
    }
    assert changes.keys() == expected.keys()
    assert found.verdicts[case.verdict] == (len(log) if case.verdict is Verdict.ACCEPTED else 1)
    for start_ms, change in changes.items():
        window = expected[start_ms]
        told = {each.field: (each.ours, each.theirs) for each in change.differences}
        pairs = zip(("open", "high", "low", "close"), case.values(window), case.counted(window), strict=False)
        assert {name: told[name] for name in told if name in ("open", "high", "low", "close")} == {
            name: (f"{now}", f"{then}") for name, now, then in pairs if now != then
        }
        assert told.keys().isdisjoint({"version", "state", "is_closed"})
        assert [(tick.partition, tick.offset, tick.verdict) for tick in change.ticks] == [
            (PARTITION, len(log) - 1, case.verdict)
        ]
    assert list(found.changes(EXTENDED)) == []


def test_it_is_told_of_the_candles_that_are_asked_for() -> None:
    log = Case("snapshot", "closed", 0, 1200).log()
    only_next = rebuilt(log, Span("1m", NOON_MS + 60_000, NOON_MS + 120_000))
    (change,) = only_next.changes(REGULAR)
    assert [(each.field, each.ours, each.theirs) for each in change.differences] == [("volume", "80.0", "50.0")]
