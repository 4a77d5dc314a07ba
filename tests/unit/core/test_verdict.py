from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockstream.core.verdict import Policy
from stockstream.models import Tick, Verdict
from stockstream.models.tick import CONTROLS, KINDS, Kind

NOON = 1_700_000_000_000
QUARTER_MS, MINUTE_MS = 900_000, 60_000
YEAR_9998_MS = 253_339_228_800_000
POLICY = Policy(feed_delay_ms={"VSE": 5_000})
TRADE = Tick("VCB.VN", NOON, 10.0, 1.0, producer_timestamp=NOON, exchange="NMS")
GAP = Tick("VCB.VN", NOON, kind="gap", until=NOON + 1_000)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, Verdict.ACCEPTED),
        ({"symbol": ""}, Verdict.BAD_SYMBOL),
        ({"symbol": "VCB VN"}, Verdict.BAD_SYMBOL),
        ({"symbol": "A" * 65}, Verdict.BAD_SYMBOL),
        ({"price": nan}, Verdict.BAD_PRICE),
        ({"price": inf}, Verdict.BAD_PRICE),
        ({"price": 0.0}, Verdict.BAD_PRICE),
        ({"price": -1.0}, Verdict.BAD_PRICE),
        ({"price": 1e308}, Verdict.BAD_PRICE),
        ({"last_size": nan}, Verdict.BAD_SIZE),
        ({"last_size": inf}, Verdict.BAD_SIZE),
        ({"last_size": -1e-9}, Verdict.BAD_SIZE),
        ({"last_size": 0.0}, Verdict.ACCEPTED),
        ({"event_time": 0}, Verdict.BAD_TIME),
        ({"event_time": -1}, Verdict.BAD_TIME),
        ({"event_time": 10**17}, Verdict.BAD_TIME),
        ({"event_time": YEAR_9998_MS, "producer_timestamp": YEAR_9998_MS - 1}, Verdict.BAD_TIME),
        ({"event_time": YEAR_9998_MS - 1, "producer_timestamp": YEAR_9998_MS - 1}, Verdict.ACCEPTED),
        ({"producer_timestamp": -5}, Verdict.BAD_TIME),
        ({"producer_timestamp": NOON + QUARTER_MS}, Verdict.ACCEPTED),
        ({"producer_timestamp": NOON + QUARTER_MS + 1}, Verdict.LATE),
        ({"producer_timestamp": NOON + QUARTER_MS + 5_000, "exchange": "VSE"}, Verdict.ACCEPTED),
        ({"producer_timestamp": NOON + QUARTER_MS + 5_001, "exchange": "VSE"}, Verdict.LATE),
        ({"producer_timestamp": NOON - MINUTE_MS}, Verdict.ACCEPTED),
        ({"producer_timestamp": NOON - MINUTE_MS - 1}, Verdict.FUTURE),
        ({"producer_timestamp": NOON + 10 * QUARTER_MS, "kind": "quote"}, Verdict.ACCEPTED),
        ({"producer_timestamp": NOON - MINUTE_MS - 1, "kind": "quote"}, Verdict.FUTURE),
        ({"price": 0.0, "kind": "quote"}, Verdict.BAD_PRICE),
    ],
)
def test_a_tick_is_judged_by_itself(change: dict[str, object], verdict: Verdict) -> None:
    assert POLICY.judge(replace(TRADE, **change)) is verdict  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, Verdict.ACCEPTED),
        ({"kind": "start", "until": None}, Verdict.ACCEPTED),
        ({"until": NOON}, Verdict.ACCEPTED),
        ({"until": None}, Verdict.BAD_TIME),
        ({"until": NOON - 1}, Verdict.BAD_TIME),
        ({"until": 10**17}, Verdict.BAD_TIME),
        ({"producer_timestamp": NOON + 10 * QUARTER_MS}, Verdict.ACCEPTED),
        ({"kind": "start", "producer_timestamp": NOON - MINUTE_MS - 1}, Verdict.FUTURE),
        ({"until": NOON + 2 * MINUTE_MS, "producer_timestamp": NOON}, Verdict.FUTURE),
        ({"symbol": "?"}, Verdict.BAD_SYMBOL),
    ],
)
def test_control_records_are_never_late_but_may_come_from_the_future(
    change: dict[str, object], verdict: Verdict
) -> None:
    assert POLICY.judge(replace(GAP, **change)) is verdict  # type: ignore[arg-type]


def test_where_the_reception_is_unknown_nothing_is_late_or_from_the_future() -> None:
    assert POLICY.judge(replace(TRADE, producer_timestamp=0, event_time=1)) is Verdict.ACCEPTED
    assert POLICY.judge(replace(TRADE, producer_timestamp=0, event_time=10**14)) is Verdict.ACCEPTED


def test_a_rebuild_turns_lateness_off_and_nothing_else() -> None:
    policy = Policy(accepted_lateness_ms=None)
    late = replace(TRADE, producer_timestamp=NOON + 1_000 * QUARTER_MS)
    assert policy.judge(late) is Verdict.ACCEPTED
    assert policy.judge(replace(late, price=0.0)) is Verdict.BAD_PRICE


ticks = st.builds(
    Tick,
    st.sampled_from(["VCB.VN", "", "B C"]), st.integers(-1, 3) | st.integers(NOON, NOON + 10**7),
    st.floats(), st.floats(), kind=st.sampled_from(KINDS), producer_timestamp=st.integers(0, 3) | st.just(NOON),
    until=st.none() | st.integers(NOON - 5, NOON + 10**7),
)  # fmt: skip


@given(st.lists(ticks, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_the_verdict_does_not_depend_on_what_was_judged_before(ticks: list[Tick], random: object) -> None:
    alone = {id(tick): Policy().judge(tick) for tick in ticks}
    policy = Policy()
    random.shuffle(ticks)  # type: ignore[attr-defined]
    assert all(policy.judge(tick) is alone[id(tick)] for tick in ticks)


@given(ticks, st.sampled_from(KINDS))
def test_what_is_accepted_has_a_finite_price_and_size_or_is_a_control_record(tick: Tick, kind: Kind) -> None:
    tick.kind = kind
    if Policy().judge(tick) is Verdict.ACCEPTED and kind not in CONTROLS:
        assert 0 < tick.price < inf
        assert 0 <= tick.last_size < inf
