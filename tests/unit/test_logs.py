from __future__ import annotations

import logging

from stockstream.logs import Repeats


class Said:
    """A handler's filter with a clock of its own, and what it lets through."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.lines: list[str] = []
        self._filter = Repeats(60.0, lambda: self.now_s)

    def say(self, text: str, *args: object, level: int = logging.WARNING) -> None:
        record = logging.LogRecord("x", level, __file__, 1, text, args, None)
        if self._filter.filter(record):
            self.lines.append(record.getMessage())


def test_a_text_is_said_ten_times_a_minute_and_then_how_often_it_was_not() -> None:
    said = Said()
    for _ in range(100):
        said.say("no %s", "broker")
    said.say("no %s", "registry")
    assert said.lines == ["no broker"] * 10 + ["no registry"]
    said.now_s = 59.9
    said.say("no %s", "broker")
    assert len(said.lines) == 11
    said.now_s = 60.0
    said.say("no %s", "broker")
    said.say("no %s", "broker")
    said.say("no %s", "registry")
    assert said.lines[11:] == ["no broker (91 times more before)", "no broker", "no registry"]
    said.now_s = 200.0
    said.say("no %s", "broker")
    assert said.lines[14:] == ["no broker"]


def test_what_is_no_warning_passes() -> None:
    said = Said()
    said.say("ticks", level=logging.INFO)
    said.say("ticks", level=logging.INFO)
    assert said.lines == ["ticks", "ticks"]


def test_texts_that_differ_pass_however_many_they_are() -> None:
    said = Said()
    for number in range(5000):
        said.say("offset %d", number)
    assert len(said.lines) == 5000
    assert len(said._filter._said) <= 1000
