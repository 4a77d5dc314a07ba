from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stockstream.core.interval import Address
from stockstream.core.watermark import Clocks

MINUTE = 60_000


def window(start: int, symbol: str = "A") -> Address:
    return "1m", (symbol, "regular"), start


def test_a_window_closes_when_its_clock_has_passed_its_end_and_the_delay() -> None:
    clocks = Clocks(close_delay_ms=5_000)
    clocks.wait("binance/", MINUTE, window(0))
    clocks.move("binance/", MINUTE + 4_999, 0)
    assert clocks.due(0, idle=False) == []
    clocks.move("binance/", MINUTE + 5_000, 0)
    assert clocks.due(0, idle=False) == [window(0)]
    assert clocks.due(0, idle=False) == []


def test_one_market_does_not_close_the_candles_of_another() -> None:
    clocks = Clocks(0)
    clocks.wait("yahoo/VSE", MINUTE, window(0, "VCB.VN"))
    clocks.move("yahoo/VSE", 1_000, 0)
    clocks.move("binance/", 10 * MINUTE, 0)
    assert clocks.due(0, idle=True) == []


def test_the_wall_moves_a_quiet_clock_only_while_nothing_is_left_to_read() -> None:
    clocks = Clocks(0)
    clocks.wait("a", MINUTE, window(0))
    clocks.move("a", 59_000, now_ms=100_000)
    assert clocks.due(now_ms=10**9, idle=False) == []
    assert clocks.due(now_ms=100_999, idle=True) == []
    assert clocks.due(now_ms=101_000, idle=True) == [window(0)]


def test_repeated_old_prices_do_not_hold_a_clock_up() -> None:
    clocks = Clocks(0)
    clocks.wait("a", MINUTE, window(0))
    clocks.move("a", 59_000, now_ms=0)
    for now_ms in range(0, 2_000, 100):
        clocks.move("a", 1_000, now_ms)
    assert clocks.due(now_ms=1_000, idle=True) == [window(0)]


def test_a_clock_never_turns_back() -> None:
    clocks = Clocks(0)
    clocks.move("a", 5_000, 0)
    clocks.move("a", 4_000, 0)
    assert clocks.read("a") == 5_000
    assert clocks.read("b") is None


def test_the_same_window_waits_once() -> None:
    clocks = Clocks(0)
    clocks.wait("a", MINUTE, window(0))
    clocks.wait("a", MINUTE, window(0))
    clocks.move("a", MINUTE, 0)
    assert clocks.due(0, idle=False) == [window(0)]
    clocks.wait("a", MINUTE, window(0))
    assert clocks.due(0, idle=False) == [window(0)]


moves = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(0, 3), st.booleans()), max_size=30)


@given(moves, st.integers(0, 3))
def test_every_window_closes_once_and_at_its_time(moves: list[tuple[str, int, int, bool]], delay: int) -> None:
    clocks = Clocks(delay)
    newest: dict[str, tuple[int, int]] = {}
    waiting = {("a", end): window(end, "a") for end in range(0, 20, 2)} | {("b", 7): window(7, "b")}
    for (name, end), at in waiting.items():
        clocks.wait(name, end, at)
    now = 0
    for name, event, passed, idle in moves:
        now += passed
        clocks.move(name, event, now)
        if name not in newest or event > newest[name][0]:
            newest[name] = event, now
        reached = {each: at + (now - since if idle else 0) - delay for each, (at, since) in newest.items()}
        due = {key: at for key, at in waiting.items() if key[0] in reached and key[1] <= reached[key[0]]}
        assert sorted(clocks.due(now, idle)) == sorted(due.values())
        waiting = {key: at for key, at in waiting.items() if key not in due}
