from __future__ import annotations

from faults.silence import Silence, silences


def test_the_longest_silence_of_any_partition_belongs_to_the_event_that_it_began_with() -> None:
    writes = {0: [0, 1000, 5900, 6000], 1: [0, 900, 6500]}
    assert silences([1100], writes, 7000) == [Silence(5.6, 1, alone=True)]
    assert silences([1100, 6600], writes, 7000) == [Silence(5.6, 1, alone=True), Silence(1.0, 0, alone=False)]


def test_what_was_under_way_is_still_written_after_a_kill() -> None:
    assert silences([20_000], {0: [19_000, 20_400, 28_000]}, 30_000) == [Silence(7.6, 0, alone=True)]


def test_an_event_inside_a_silence_is_not_its_cause_if_another_began_it() -> None:
    found = silences([10_000, 14_000], {0: [9_900, 10_100, 20_000]}, 20_000)
    assert found == [Silence(9.9, 0, alone=False), Silence(0.0, -1, alone=False)]


def test_a_partition_is_silent_until_the_ticks_end() -> None:
    assert silences([1000], {0: [500]}, 9000) == [Silence(8.5, 0, alone=True)]


def test_silence_before_the_first_event_is_nobodys() -> None:
    assert silences([9000], {0: [0, 5000, 8900, 9100]}, 9200) == [Silence(0.2, 0, alone=True)]
