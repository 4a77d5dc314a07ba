"""What a plan has come to, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from faults.judge import EQUAL
from faults.plan import Plan, Step
from faults.silence import LIMITS_S, Silence

NOT_READ = "everything to be read, written and committed"


class Result(StrEnum):
    """What a plan comes to, the worst first."""

    LOST = "lost"
    """Some candle is not right somewhere."""
    FAILED = "failed"
    """Something else is wrong, like a worker that ended as it never should."""
    STALLED = "stalled"
    """Not all ticks were committed."""
    EQUAL = "equal"
    """Every candle is right in every place."""


@dataclass(slots=True)
class Report:
    """What was done and seen. ``places`` says by place what is wrong with its candles."""

    plan: Plan
    took_s: float = 0.0
    candles: int = 0
    places: dict[str, str] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    events: list[tuple[Step, Silence]] = field(default_factory=list)
    failure: str = ""
    logs: Path | None = None
    noted: dict[str, int] = field(default_factory=dict)

    @property
    def result(self) -> Result:
        """What it comes to."""
        if set(self.places.values()) - {EQUAL}:
            return Result.LOST
        if self.failure:
            return Result.STALLED if NOT_READ in self.failure else Result.FAILED
        return Result.EQUAL

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        faults = [
            {**asdict(step), "silence_s": round(silence.seconds, 2), "alone": silence.alone}
            for step, silence in self.events
        ]
        return {
            "seed": self.plan.seed,
            "brokers": self.plan.brokers,
            "is_static": self.plan.is_static,
            "ticks": self.plan.ticks,
            "off": list(self.plan.off),
            "result": self.result,
            "candles": self.candles,
            "places": {place: told.partition("\n")[0] for place, told in self.places.items()},
            "failure": self.failure,
            "ends": self.ends,
            "noted": self.noted,
            "took_s": round(self.took_s, 1),
            "faults": faults,
        }


def told(report: Report) -> str:
    """The report with a line for each fault."""
    lines = [f"  {step}  silent {silence.seconds:.1f} s{_over(step, silence)}" for step, silence in report.events]
    return "\n".join([*lines, summary(report)])


def summary(report: Report) -> str:
    """The report in a line, and what is wrong."""
    equal = f"{report.candles} candles equal in {len(report.places)} places"
    verdict = equal if report.result is Result.EQUAL else report.result.upper()
    head = f"{report.plan}, {report.plan.ticks} ticks: {verdict}; ends {report.ends}, {report.noted or 'nothing noted'}"
    wrong = [f"{place}: {_short(difference)}" for place, difference in report.places.items() if difference != EQUAL]
    failure = [report.failure, report.logs and f"the workers' logs: {report.logs}"]
    return "\n  ".join([f"{head}, {report.took_s:.0f} s", *wrong, *(line for line in failure if line)])


def _short(difference: str) -> str:
    """What is wrong, with one example."""
    return "\n    ".join(difference.splitlines()[:2])


def _over(step: Step, silence: Silence) -> str:
    limit_s = LIMITS_S.get(step.kind)
    if not silence.alone:
        return " (not alone)"
    return f" (over the limit of {limit_s:g} s)" if limit_s is not None and silence.seconds > limit_s else ""
