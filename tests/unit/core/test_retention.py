from __future__ import annotations

from crashing import Host

from stockstream.core.row import Row, stamp
from stockstream.models import Tick, Verdict

MINUTE, DAY = 60_000, 86_400_000
OPEN = 20_000 * DAY
KEEP = 2 * DAY
SYMBOL = "VCB.VN"


def trade(at_ms: int, trade_id: int = 0, symbol: str = SYMBOL) -> Tick:
    return Tick(symbol, OPEN + at_ms, 10.0, 1.0, trade_id=trade_id)


def seen(at_ms: int, cumulative: int) -> Tick:
    return Tick(SYMBOL, OPEN + at_ms, 1.0, day_volume=cumulative, kind="snapshot")


def minutes(host: Host) -> list[int]:
    return sorted((start - OPEN) // MINUTE for interval, _, start in host.rows.stored if interval == "1m")


def fed(*ticks: Tick, commits: bool = True, **options: int) -> Host:
    host = Host(retention_ms=KEEP, **options)
    for offset, tick in enumerate(ticks):
        host.feed([(stamp(0, offset), tick)])
        if commits:
            host.commit()
    return host


def test_old_rows_go_but_for_the_last_of_them_and_one_round_later() -> None:
    host = fed(*(trade(n * DAY, n) for n in range(8)))
    assert minutes(host) == [day * 1440 for day in (3, 4, 5, 6, 7)]


def test_what_may_be_read_again_stays() -> None:
    host = fed(*(trade(n * DAY, n) for n in range(8)), commits=False)
    assert len(minutes(host)) == 8


def test_the_newest_row_stays_however_old_it_grows() -> None:
    host = fed(trade(0), *(trade(n * DAY, n, symbol="HPG.VN") for n in range(9)))
    assert ("1m", (SYMBOL, "regular"), OPEN) in host.rows.stored


def test_a_row_that_has_not_closed_stays() -> None:
    host = fed(*(trade(n * DAY, n) for n in range(8)), close_delay_ms=30 * DAY)
    assert len(minutes(host)) == 8


def test_a_tick_of_a_forgotten_window_opens_no_row() -> None:
    host = fed(trade(0), trade(3 * DAY, 1), trade(6 * DAY, 2), trade(1 * DAY, 3))
    assert host.verdicts[stamp(0, 3)] is Verdict.EXPIRED
    assert 1440 not in minutes(host)


def test_a_tick_is_expired_although_its_row_is_still_there() -> None:
    host = fed(trade(0), trade(3 * DAY, 1), trade(1, 2), commits=False)
    assert 0 in minutes(host)
    assert host.verdicts[stamp(0, 2)] is Verdict.EXPIRED


def test_one_batch_expires_what_single_ticks_would() -> None:
    ticks = [trade(0), trade(3 * DAY, 1), trade(1, 2), trade(3 * DAY, 3)]
    log = [(stamp(0, offset), tick) for offset, tick in enumerate(ticks)]
    together = Host(retention_ms=KEEP)
    together.feed(log)
    assert together.verdicts == fed(*ticks).verdicts
    assert list(together.verdicts.values()) == ["accepted", "accepted", "expired", "accepted"]


def test_a_refused_tick_expires_no_other() -> None:
    broken = trade(9 * DAY, 1)
    broken.price = -1.0
    assert Host(retention_ms=KEEP).engine.apply(7, [(0, broken), (1, trade(0))], 0).batch.verdict(1) is Verdict.ACCEPTED


def test_a_replayed_tick_is_not_expired_by_a_row_that_came_after_it() -> None:
    log = [(stamp(0, 0), trade(0)), (stamp(0, 1), trade(3 * DAY, 1))]
    host = Host(retention_ms=KEEP)
    host.feed(log)
    torn = {at: data for at, data in host.rows.stored.items() if at[2] != OPEN}
    again = Host(torn, retention_ms=KEEP)
    again.feed(log)
    assert again.verdicts == host.verdicts
    assert again.candles() == host.candles()


def test_a_hole_of_long_ago_opens_no_row_for_a_forgotten_window() -> None:
    old = Tick(SYMBOL, OPEN, kind="gap", until=OPEN + MINUTE)
    host = fed(*(trade(n * DAY, n) for n in (0, 3, 6, 9)), old, trade(1, 1))
    assert 0 not in minutes(host)
    assert host.verdicts[stamp(0, 5)] is Verdict.EXPIRED


def test_a_volume_counts_on_from_what_was_evicted() -> None:
    keep = 10 * MINUTE
    host = Host(retention_ms=keep)
    ticks = [Tick(SYMBOL, OPEN - 1, kind="start"), seen(0, 10), seen(MINUTE, 30)]
    ticks += [Tick(SYMBOL, OPEN + MINUTE + 1, 1.0, kind="snapshot")]
    ticks += [seen(n * MINUTE, 30 + n) for n in range(13, 40, 13)]
    for offset, tick in enumerate(ticks):
        host.feed([(stamp(0, offset), tick)])
        host.commit()
    assert minutes(host) == [13, 26, 39]
    found = {
        (candle.window_start - OPEN) // MINUTE: (candle.volume, candle.partial)
        for candle in host.candles().values()
        if candle.interval == "1m"
    }
    assert found == {13: (13, False), 26: (13, False), 39: (13, False)}


def test_the_anchor_is_stored_with_its_baseline_before_the_rows_behind_it_go() -> None:
    host = Host(retention_ms=10 * MINUTE)
    for offset, n in enumerate([0, 1, 20]):
        host.feed([(stamp(0, offset), seen(n * MINUTE, n))])
    anchor = ("1m", (SYMBOL, "regular"), OPEN + MINUTE)
    assert Row.decode(host.rows.stored[anchor]).baseline == (OPEN, 0, stamp(0, 0))
    assert minutes(host) == [0, 1, 20]
    host.commit()
    host.feed([(stamp(0, 3), seen(21 * MINUTE, 21))])
    assert minutes(host) == [1, 20, 21]
