from __future__ import annotations

from stockstream.sources.status import Status, Throttle


def test_a_throttle_tells_the_first_and_then_counts() -> None:
    now_s = 0.0
    throttle = Throttle(60, lambda: now_s)
    assert throttle.due() == 1
    assert [throttle.due() for _ in range(5)] == [None] * 5
    now_s = 60.0
    assert throttle.due() == 6
    assert throttle.due() is None


def test_the_first_connection_is_no_reconnect() -> None:
    assert Status().reconnects == 0
    assert Status(connections=1).reconnects == 0
    assert Status(connections=3).reconnects == 2


def test_all_that_is_wrong_is_told() -> None:
    assert Status().troubles == []
    status = Status("failed", detail="banned", refused="no such symbol", poll="too many requests")
    assert status.troubles == ["banned", "no such symbol", "too many requests"]
