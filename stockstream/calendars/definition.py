"""What a calendar's file says, as checked values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

CONTINUOUS = "continuous"
AUCTION = "auction"
FIXED_PRICE = "fixed price"
LAST_PRINTS = "last prints"
EXTENDED_HOURS = "extended hours"
BREAK = "break"
PUT_THROUGH = "put-through"

TRADED = frozenset((CONTINUOUS, AUCTION, FIXED_PRICE))
"""The kinds in which the regular session trades; what is printed after its last moment apart."""

PHASE_KINDS = (AUCTION, FIXED_PRICE, BREAK, PUT_THROUGH)
"""The kinds that a file may name.

In an ``auction`` a price is made at its end only, in ``fixed price`` trades happen at a price that is made already;
both belong to the regular session. In a ``break`` nothing is traded, and ``put-through`` makes no price: neither
belongs to a session, but both to the trading date.
"""

DAY_MINUTES = 1440

_SOME_DAY = date(2026, 6, 1)

Bounds = tuple[int, int]
"""``[from, to)`` in minutes from midnight, local, of the trading date; those of the day before are negative."""


@dataclass(frozen=True, slots=True)
class Hours:
    """The usual hours of some weekdays (0 is Monday), from a date on; None: always."""

    bounds: Bounds
    breaks: tuple[Bounds, ...] = ()
    weekdays: frozenset[int] = frozenset(range(5))
    since: date | None = None


@dataclass(frozen=True, slots=True)
class PhaseRule:
    """A named part of the usual day, in dates ``[since, until]``; with ``anchor`` it moves when that does."""

    name: str
    kind: str
    bounds: Bounds
    anchor: str | None = None
    since: date | None = None
    until: date | None = None

    def holds(self, day: date) -> bool:
        """Whether there is this part on a date."""
        return (self.since is None or day >= self.since) and (self.until is None or day <= self.until)


@dataclass(frozen=True, slots=True)
class Holiday:
    """A date without a session that would usually have one; an estimate is one that nobody has announced yet."""

    name: str
    is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class Special:
    """The hours of one date where they differ from the usual ones; None: they do not."""

    open_minute: int | None = None
    close_minute: int | None = None
    breaks: tuple[Bounds, ...] | None = None

    def bounds(self, usual: Bounds) -> Bounds:
        """From the open to the close, where they are usually the given ones."""
        start, end = usual
        return (
            start if self.open_minute is None else self.open_minute,
            end if self.close_minute is None else self.close_minute,
        )


@dataclass(frozen=True, slots=True)
class Definition:
    """All that is known of a calendar; in dates ``[first, last]`` by name and date, else only what is usual.

    ``extended`` is from the start of the pre-market to the end of the post-market. ``files`` are those it comes from.
    """

    code: str
    name: str
    zone: str
    hours: tuple[Hours, ...]
    first: date | None = None
    last: date | None = None
    extended: Bounds | None = None
    phases: tuple[PhaseRule, ...] = ()
    holidays: dict[date, Holiday] = field(default_factory=dict)
    specials: dict[date, Special] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def usual(self, day: date) -> Hours | None:
        """The hours of a date by its weekday, None if it has none; the newest that hold."""
        held = (each for each in self.hours if each.since is None or each.since <= day)
        weekday = day.weekday()
        return max(
            (each for each in held if weekday in each.weekdays),
            key=lambda each: each.since or date.min,
            default=None,
        )

    def doubtful(self) -> list[date]:
        """Where sessions might overlap: around dates with hours of their own, and when usual hours or phases begin."""
        begins = {each.since or _SOME_DAY for each in self.hours} | {each.since or _SOME_DAY for each in self.phases}
        return sorted({day + timedelta(more) for day in (*self.specials, *begins) for more in range(-1, 7)})
