"""What trade ids tell of holes, beside what the connection knows."""

from __future__ import annotations

from collections.abc import Sequence

from stockstream.models import Tick
from stockstream.sources.contract import Capabilities
from stockstream.sources.trade_ids import IdWatch, watching_ids

NOW_MS = 1_700_000_000_000
SYMBOL = "BINANCE:BTCUSDT"


def trade(at_ms: int, trade_id: int, symbol: str = SYMBOL) -> Tick:
    return Tick(symbol, NOW_MS + at_ms, 10.0, 1.0, trade_id=trade_id, source="binance")


def control(kind: str, at_ms: int, until_ms: int | None = None, cause: str | None = None) -> Tick:
    until = None if until_ms is None else NOW_MS + until_ms
    return Tick(SYMBOL, NOW_MS + at_ms, kind=kind, until=until, cause=cause, source="binance")  # type: ignore[arg-type]


async def _nowhere(_ticks: Sequence[Tick]) -> None: ...


def told(*ticks: Tick) -> list[tuple[str, int, int, str | None]]:
    """The control records that ticks, given one by one, come out with: kind, from, until, cause."""
    watch = IdWatch(_nowhere, lambda _ticks: True, lambda: NOW_MS)
    found = [each for tick in ticks for each in watch.told([tick])]
    assert [each for each in found if each.kind == "trade"] == [each for each in ticks if each.kind == "trade"]
    return [
        (each.kind, each.event_time - NOW_MS, (each.until or NOW_MS) - NOW_MS, each.cause)
        for each in found
        if each.kind in ("gap", "repair")
    ]


def test_ids_that_go_on_tell_nothing() -> None:
    assert told(trade(0, 15), trade(5, 16), trade(5, 16), trade(9, 17)) == []


def test_a_jump_is_a_hole_between_the_two_trades() -> None:
    assert told(trade(0, 16), trade(900, 21)) == [("gap", 0, 900, "ids 17–20 missing")]


def test_each_symbol_counts_by_itself() -> None:
    assert told(trade(0, 16), trade(5, 900, "BINANCE:ETHUSDT"), trade(9, 17)) == []


def test_missing_trades_that_come_after_all_settle_it() -> None:
    assert told(trade(0, 16), trade(9, 19), trade(4, 18), trade(4, 18), trade(3, 17), trade(12, 20)) == [
        ("gap", 0, 9, "ids 17–18 missing"),
        ("repair", 0, 9, "the missing trades came after all"),
    ]


def test_a_reconnect_that_missed_nothing_is_settled_at_once() -> None:
    assert told(trade(0, 16), control("gap", 50, 400, "closed 1001"), trade(700, 17)) == [
        ("gap", 50, 400, "closed 1001"),
        ("repair", 50, 400, "the trade ids go on: nothing was missed"),
    ]


def test_a_reconnect_that_missed_trades_says_which_and_reaches_to_the_trades_around_it() -> None:
    assert told(trade(0, 16), control("gap", 50, 400, "closed 1001"), trade(700, 19)) == [
        ("gap", 50, 400, "closed 1001"),
        ("gap", 0, 700, "closed 1001, ids 17–18 missing"),
    ]


def test_of_a_quiet_symbol_a_reconnect_reaches_no_further_than_frames_may_be_under_way() -> None:
    ticks = (trade(0, 16), control("gap", 60_000, 61_000, "aborted"), trade(90_000, 19))
    assert told(*ticks)[-1] == ("gap", 50_000, 71_000, "aborted, ids 17–18 missing")


def test_two_reconnects_without_a_trade_in_between_are_settled_together() -> None:
    ticks = (trade(0, 16), control("gap", 50, 400, "aborted"), control("gap", 500, 800, "silent"), trade(900, 17))
    assert told(*ticks)[-1][:3] == ("repair", 50, 800)


def test_what_a_removed_symbol_missed_is_no_hole() -> None:
    assert told(trade(0, 16), control("start", 900), trade(950, 400)) == []


async def test_what_cannot_be_taken_at_once_is_looked_at_when_it_is() -> None:
    taken: list[Tick] = []
    room = False

    def offer(ticks: Sequence[Tick]) -> bool:
        if room:
            taken.extend(ticks)
        return room

    async def emit(ticks: Sequence[Tick]) -> None:
        taken.extend(ticks)

    watch = IdWatch(emit, offer, lambda: NOW_MS)
    await watch.emit([trade(0, 1)])
    assert not watch.offer([trade(5, 4)])
    await watch.emit([trade(5, 4)])
    room = True
    assert watch.offer([trade(6, 7)])
    assert [tick.kind for tick in taken] == ["trade", "gap", "trade", "gap", "trade"]


async def test_only_ids_that_count_up_one_by_one_are_watched() -> None:
    class Producer:
        def __init__(self) -> None:
            self.taken: list[Tick] = []

        async def send(self, ticks: Sequence[Tick]) -> None:
            self.taken += ticks

        def offer(self, ticks: Sequence[Tick]) -> bool:
            self.taken += ticks
            return True

    for is_sequential, kinds in ((False, ["trade", "trade"]), (True, ["trade", "gap", "trade"])):
        producer = Producer()
        capabilities = Capabilities("trades", 1, 1.0, sequential_ids=is_sequential)
        emit, offer = watching_ids(capabilities, producer, lambda: NOW_MS)
        await emit([trade(0, 1)])
        assert offer([trade(5, 4)])
        assert [tick.kind for tick in producer.taken] == kinds
