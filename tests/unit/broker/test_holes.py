from __future__ import annotations

from stockstream.broker.holes import Holes
from stockstream.models import Tick

NOW_MS = 10_000


def gap(from_ms: int, until_ms: int) -> Tick:
    return Tick("A", from_ms, kind="gap", producer_timestamp=NOW_MS, source="venue", until=until_ms, cause="shed")


def closed(*ticks: Tick) -> list[Tick]:
    holes = Holes(lambda: NOW_MS)
    for tick in ticks:
        holes.add(tick)
    records = holes.close()
    assert not holes.close()
    assert len(holes) == 0
    return records


def tick(event_ms: int, kind: str = "trade", **more: object) -> Tick:
    return Tick("A", event_ms, 1.0, kind=kind, source="venue", **more)  # type: ignore[arg-type]


def test_a_hole_spans_what_was_shed_in_any_order() -> None:
    assert closed(tick(500), tick(300), tick(400, "snapshot")) == [gap(300, 500)]


def test_a_shed_gap_joins_the_hole_and_the_first_start_follows_it() -> None:
    first, second = tick(600, "start"), tick(900, "start")
    assert closed(tick(500), tick(450, "gap", until=600, cause="aborted"), first, second) == [gap(450, 600), first]


def test_quotes_leave_no_hole_and_a_start_alone_is_no_gap() -> None:
    start = tick(600, "start")
    assert closed(tick(5, "quote")) == []
    assert closed(start, tick(5, "quote")) == [start]


def test_symbols_have_their_own_holes() -> None:
    holes = Holes(lambda: NOW_MS)
    holes.add(tick(1))
    holes.add(Tick("B", 2))
    assert len(holes) == 2
    assert [(record.symbol, record.event_time) for record in holes.close()] == [("A", 1), ("B", 2)]
