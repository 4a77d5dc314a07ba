"""What frames are: the ticks that somebody asked for, and what their venue says of the connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from stockstream.errors import BadMessage
from stockstream.models import Tick
from stockstream.sources.contract import Confirmed, Ending, Fatal, Feed, Notice, PartlyBad, Refused
from stockstream.sources.coverage import Coverage
from stockstream.sources.line import Line
from stockstream.sources.status import Status, Throttle

log = logging.getLogger(__name__)

_TELL_EVERY_S = 60.0
_SAME_MOMENT_MS = 1000


class Intake:
    """Parses the frames of one runner's lines and counts them in ``status``.

    ``on_answer`` is told of a line whose venue has answered a command; ``on_tick`` that a trade or snapshot has come.
    """

    def __init__(
        self,
        feed: Feed,
        status: Status,
        coverage: Coverage,
        name: str,
        *,
        on_answer: Callable[[Line], None],
        on_tick: Callable[[], None],
        steady_s: Callable[[], float],
    ) -> None:
        self._feed, self._status, self._coverage, self._name = feed, status, coverage, name
        self._on_answer, self._on_tick = on_answer, on_tick
        self._bad, self._unasked = Throttle(_TELL_EVERY_S, steady_s), Throttle(_TELL_EVERY_S, steady_s)

    def parse(self, line: Line, frames: Sequence[bytes], received_ms: int) -> list[Tick]:
        """The ticks of frames that came on ``line``, and the control records that come of them, in order."""
        parse = self._feed.parse
        self._status.frames += len(frames)
        line.frames += len(frames)
        known: list[Tick] = []
        for frame in frames:
            try:
                ticks = parse(frame, received_ms)
            except Notice as notice:
                known += self._heed(line, notice, received_ms)
                continue
            except BadMessage as error:
                self._tell_bad(error)
                ticks = error.ticks if isinstance(error, PartlyBad) else []
            line.ticks += len(ticks)
            for tick in ticks:
                if self.knows(tick, received_ms):
                    known.append(tick)
        return known

    def covered(self, symbols: Iterable[str], now_ms: int) -> list[Tick]:
        """The control records of symbols that are subscribed now; none of those that were so already."""
        wanted, coverage = self._status.symbols, self._coverage
        return coverage.subscribed([s for s in symbols if s in wanted and s not in coverage], now_ms)

    def knows(self, tick: Tick, received_ms: int) -> bool:
        """Whether somebody asked for ``tick``; counts it, and stamps it so that no two of a symbol tie."""
        seen = self._status.symbols.get(tick.symbol)
        if seen is None:
            self._status.unasked += 1
            if (count := self._unasked.due()) is not None:
                log.warning("%s: %d ticks that nobody asked for, the last of %s", self._name, count, tick.symbol)
            return False
        if 0 <= seen.received_ms - received_ms < _SAME_MOMENT_MS:
            # Snapshots of one second are ordered by their reception: two of a symbol must not share a millisecond.
            tick.producer_timestamp = received_ms = seen.received_ms + 1
        seen.ticks += 1
        seen.event_ms, seen.received_ms = tick.event_time, received_ms
        if tick.kind != "quote":
            self._on_tick()
        return True

    def _heed(self, line: Line, notice: Notice, now_ms: int) -> list[Tick]:
        """Do what a notice asks for; the control records that come of it."""
        if isinstance(notice, Confirmed):
            line.answered(notice.symbols)
            self._on_answer(line)
            return self.covered(notice.symbols, now_ms)
        if isinstance(notice, Ending):
            log.info("%s: %s: opening another connection", self._name, notice)
            line.ending.set()
        elif isinstance(notice, Fatal):
            line.fatal = str(notice)
        elif isinstance(notice, Refused):
            line.answered(notice.symbols)
            self._status.refused = str(notice)
            log.error("%s: the venue refuses %s: %s", self._name, ", ".join(notice.symbols) or "a request", notice)
            self._on_answer(line)
        return []

    def _tell_bad(self, error: BadMessage) -> None:
        self._status.bad_frames += 1
        if (count := self._bad.due()) is not None:
            log.warning("%s: %d bad frames, the last: %s", self._name, count, error)
