"""Arithmetic on runs: rates, ratios of adjacent runs, and how a spread is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from bench.measure import Run


def rates(runs: Iterable[Run]) -> list[float]:
    """Ticks a second of each run."""
    return [run.ticks / run.seconds for run in runs]


def cpu_us(runs: Iterable[Run]) -> list[float]:
    """Processor time a tick of each run, in µs."""
    return [run.cpu_s / run.ticks * 1e6 for run in runs]


def ratios(runs: Mapping[str, Sequence[Run]], name: str, other: str) -> list[float]:
    """The rate of one contender over another's, by rounds in which both took part."""
    others = {run.round: run for run in runs[other]}
    both = [(run, others[run.round]) for run in runs[name] if run.round in others]
    return [run.ticks / run.seconds / (its.ticks / its.seconds) for run, its in both]


def spread(figures: Iterable[float], digits: int = 0) -> str:
    """Median, and from least to greatest."""
    known = sorted(figures)
    if len(known) == 1:
        return f"{known[0]:,.{digits}f}"
    return f"{median(known):,.{digits}f} ({known[0]:,.{digits}f}–{known[-1]:,.{digits}f})"
