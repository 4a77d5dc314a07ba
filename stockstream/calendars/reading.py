"""Calendar files: TOML to a `Definition`, and how a user's file amends one of ours."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from stockstream.calendars.definition import (
    DAY_MINUTES,
    PHASE_KINDS,
    Bounds,
    Definition,
    Holiday,
    Hours,
    PhaseRule,
    Special,
)
from stockstream.errors import InvalidCalendar

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TIME = re.compile(r"(\d\d):(\d\d)( the day before)?", re.ASCII)
_BY_DATE = ("holidays", "sessions")
_SHARED = ("holidays", "first", "last", "sources")
_KEYS = {"name", "zone", "holidays_of", "extended", "hours", "phases", "sessions", *_SHARED}
_HOURS = {"since", "weekdays", "open", "close", "break"}
_PHASE = {"name", "kind", "from", "to", "anchor", "since", "until"}


class Content:
    """A file's tables, with a name for each place in it that an error can tell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
            self.tables: dict[str, Any] = tomllib.loads(self.text)
        except OSError as error:
            raise InvalidCalendar(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise InvalidCalendar(f"{path} is no TOML: {error}") from error

    def wrong(self, key: str, told: str) -> InvalidCalendar:
        """The error that a key is wrong; ``told`` says what to write."""
        found = re.search(rf"^[ \t]*+\[*+[ \t]*+\"?{re.escape(key)}\"?[ \t]*+[=\]]", self.text, re.MULTILINE)
        line = f"line {self.text.count(chr(10), 0, found.start() + 1) + 1}, " if found else ""
        return InvalidCalendar(f"{self.path}: {line}{key}: {told}")

    def only(self, table: object, allowed: set[str], name: str) -> Mapping[str, Any]:
        """``table`` if it is one that has no other keys than those."""
        if not isinstance(table, dict):
            raise self.wrong(name, f"must be a table with {', '.join(sorted(allowed))}")
        for key in table:
            if key not in allowed:
                raise self.wrong(key, f"is none of {', '.join(sorted(allowed))}")
        return table


def read(path: Path) -> Content:
    """A calendar's file; raises `InvalidCalendar` if it is none. Its keys are known then, its values not looked at."""
    content = Content(path)
    content.only(content.tables, _KEYS, str(path))
    for name in _BY_DATE:
        table = content.tables.get(name, {})
        if not isinstance(table, dict):
            raise content.wrong(name, "must be a table of dates")
        content.tables[name] = {_key_date(content, key): value for key, value in table.items()}
    return content


def amended(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a calendar with those of a file that amends it: by date, and otherwise key by key.

    What a date is made takes the place of what it was: a holiday of a session of its own, and the other way round.
    """
    joined = {**base, **more}
    for name, other in zip(_BY_DATE, reversed(_BY_DATE), strict=True):
        mine = {day: value for day, value in base.get(name, {}).items() if day not in more.get(other, {})}
        joined[name] = mine | more.get(name, {})
    return joined


def shared(other: Mapping[str, Any]) -> dict[str, Any]:
    """What a calendar takes over from the one that its ``holidays_of`` names."""
    return {key: other[key] for key in _SHARED if key in other}


def define(code: str, tables: Mapping[str, Any], content: Content, files: tuple[str, ...]) -> Definition:
    """A calendar of ``tables``; raises `InvalidCalendar`, which tells the place in ``content`` if it is there."""
    for name in ("name", "zone", "hours"):
        if name not in tables:
            raise InvalidCalendar(f"{content.path}: {name} is missing, and there is no {code} that it could amend")
    holidays = {day: _holiday(content, day, value) for day, value in tables.get("holidays", {}).items()}
    definition = Definition(
        code,
        str(tables["name"]),
        _zone(content, tables["zone"]),
        tuple(_hours(content, each) for each in _list(content, "hours", tables["hours"])),
        _day(content, "first", tables.get("first")),
        _day(content, "last", tables.get("last")),
        _extended(content, tables.get("extended")),
        tuple(_phase(content, each) for each in _list(content, "phases", tables.get("phases", []))),
        {day: holiday for day, holiday in holidays.items() if holiday is not None},
        {day: _special(content, day, value) for day, value in tables.get("sessions", {}).items()},
        tuple(map(str, _list(content, "sources", tables.get("sources", [])))),
        files,
    )
    _check(content, definition)
    return definition


def _check(content: Content, definition: Definition) -> None:
    if not definition.hours:
        raise content.wrong("hours", "must name the usual hours")
    for day, special in definition.specials.items():
        usual = definition.usual(day)
        if day in definition.holidays:
            raise content.wrong(day.isoformat(), "is in [holidays] and in [sessions]: keep one")
        if usual is None and (special.open_minute is None or special.close_minute is None):
            raise content.wrong(day.isoformat(), "has no usual hours: give open and close")
        _check_bounds(content, day.isoformat(), special.bounds((usual or definition.hours[-1]).bounds))


def _check_bounds(content: Content, key: str, bounds: Bounds) -> Bounds:
    if not 0 < bounds[1] - bounds[0] <= DAY_MINUTES:
        raise content.wrong(key, "must end after it begins, and within 24 hours")
    return bounds


def _bounds(content: Content, table: Mapping[str, Any], names: tuple[str, str], key: str) -> Bounds:
    """Those of a table, by two of its keys; ``key`` is where it is told that they are in no order."""
    start, end = (_minute(content, name, table[name]) for name in names)
    return _check_bounds(content, key, (start, end))


def _list(content: Content, key: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise content.wrong(key, "must be a list")
    return value


def _key_date(content: Content, key: str) -> date:
    try:
        return date.fromisoformat(key)
    except ValueError:
        raise content.wrong(key, "is no date: write 2026-12-24") from None


def _day(content: Content, key: str, value: object) -> date | None:
    if value is not None and type(value) is not date:
        raise content.wrong(key, "must be a date: write 2026-12-24, without quotes")
    return value


def _minute(content: Content, key: str, value: object) -> int:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) * 60 + int(found[2]) > DAY_MINUTES or int(found[2]) > 59:
        raise content.wrong(key, f'{value!r} is no time: write "09:30", "24:00" or "17:00 the day before"')
    return int(found[1]) * 60 + int(found[2]) - (DAY_MINUTES if found[3] else 0)


def _breaks(content: Content, key: str, value: object) -> tuple[Bounds, ...]:
    """``"11:30-12:30"``, or ``""`` for none."""
    if value == "":
        return ()
    if not isinstance(value, str) or value.count("-") != 1:
        raise content.wrong(key, 'break must be like "11:30-12:30", or "" for none')
    start, end = (_minute(content, key, text) for text in value.split("-"))
    return (_check_bounds(content, key, (start, end)),)


def _zone(content: Content, value: object) -> str:
    try:
        return ZoneInfo(str(value)).key
    except (KeyError, ValueError, OSError):
        raise content.wrong("zone", f'{value!r} is no time zone: write one like "Asia/Tokyo"') from None


def _weekdays(content: Content, value: object) -> frozenset[int]:
    first, _, last = str(value).partition("-")
    if first not in _WEEKDAYS or (last or first) not in _WEEKDAYS:
        raise content.wrong("weekdays", f'{value!r} must be like "Mon-Fri" or "Sun"')
    return frozenset(range(_WEEKDAYS.index(first), _WEEKDAYS.index(last or first) + 1))


def _needed(content: Content, table: Mapping[str, Any], name: str, *keys: str) -> None:
    for key in keys:
        if key not in table:
            raise content.wrong(name, f"{key} is missing")


def _hours(content: Content, value: object) -> Hours:
    table = content.only(value, _HOURS, "hours")
    _needed(content, table, "hours", "open", "close")
    return Hours(
        _bounds(content, table, ("open", "close"), "close"),
        _breaks(content, "break", table.get("break", "")),
        _weekdays(content, table.get("weekdays", "Mon-Fri")),
        _day(content, "since", table.get("since")),
    )


def _phase(content: Content, value: object) -> PhaseRule:
    table = content.only(value, _PHASE, "phases")
    _needed(content, table, "phases", "name", "kind", "from", "to")
    _one_of(content, "kind", table["kind"], PHASE_KINDS)
    _one_of(content, "anchor", table.get("anchor"), ("open", "close", None))
    return PhaseRule(
        str(table["name"]),
        table["kind"],
        _bounds(content, table, ("from", "to"), "to"),
        table.get("anchor"),
        _day(content, "since", table.get("since")),
        _day(content, "until", table.get("until")),
    )


def _one_of(content: Content, key: str, value: object, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise content.wrong(key, f"{value!r} is none of {', '.join(each for each in allowed if each)}")


def _extended(content: Content, value: object) -> Bounds | None:
    if value is None:
        return None
    table = content.only(value, {"from", "to"}, "extended")
    _needed(content, table, "extended", "from", "to")
    return _bounds(content, table, ("from", "to"), "extended")


def _holiday(content: Content, day: date, value: object) -> Holiday | None:
    """A name, or a table of a name and whether it is an estimate; ``false``: there is a session after all."""
    if value is False:
        return None
    if isinstance(value, str):
        return Holiday(value)
    table = content.only(value, {"name", "estimated"}, day.isoformat()) if isinstance(value, dict) else {}
    name, is_estimate = table.get("name"), table.get("estimated", False)
    if not isinstance(name, str) or not isinstance(is_estimate, bool):
        raise content.wrong(day.isoformat(), 'must be "a name", { name = "…", estimated = true }, or false for none')
    return Holiday(name, is_estimate)


def _special(content: Content, day: date, value: object) -> Special:
    key = day.isoformat()
    table = content.only(value, {"open", "close", "break"}, key)
    start, end = (_minute(content, key, table[name]) if name in table else None for name in ("open", "close"))
    return Special(start, end, _breaks(content, key, table["break"]) if "break" in table else None)
