"""Every calendar by code, and which one an exchange's symbols trade by: our files, with a user's folder over them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from stockstream.calendars.calendar import Calendar
from stockstream.calendars.reading import Content, amended, define, read, shared
from stockstream.errors import InvalidCalendar

EXCHANGES = "exchanges"
"""The file that says which calendar an exchange, or a suffix of symbols, has."""

_SHIPPED = Path(str(files("stockstream.calendars") / "data"))


class Calendars:
    """The calendars, each read when it is first asked for; raises `InvalidCalendar` where a file is no use.

    Files of ``folder`` are named as ours are: ``XNYS.toml`` amends or, with hours of its own, replaces or adds.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._mine = {} if folder is None else {path.stem: path for path in sorted(folder.glob("*.toml"))}
        self._read: dict[str, Calendar] = {}
        self._same_as, self._venues = _exchanges(self._mine.get(EXCHANGES))

    def codes(self) -> list[str]:
        """The codes of all calendars, without those that are as another one is."""
        names = {path.stem for path in _SHIPPED.glob("*.toml")} | set(self._mine)
        return sorted(name.replace("-", "/") for name in names - {EXCHANGES})

    def get(self, code: str) -> Calendar | None:
        """The calendar of a code, None if there is none; one that is as another is has a file only of the user's."""
        code = self._resolved(code)
        calendar = self._read.get(code)
        if calendar is None and code in self.codes():
            calendar = self._read[code] = self._load(code)
        return calendar

    def of_exchange(self, source: str, exchange: str) -> Calendar | None:
        """The calendar of an exchange as a source names it in its ticks; None if that is not known."""
        return self._of(source, "exchanges", exchange)

    def of_suffix(self, source: str, suffix: str) -> Calendar | None:
        """The calendar of the symbols of a source that end so; None if that is not known."""
        return self._of(source, "suffixes", suffix)

    def named(self, name: str) -> Calendar | None:
        """The calendar of a code, or of an exchange as any of the sources names it."""
        found = (self.of_exchange(source, name) for source in self._venues)
        return self.get(name) or next((each for each in found if each is not None), None)

    def same_as(self) -> dict[str, list[str]]:
        """For each calendar the other names by which `named` finds it."""
        tables = (self._same_as, *(venue.get("exchanges", {}) for venue in self._venues.values()))
        names: dict[str, list[str]] = {}
        for name, code in (entry for table in tables for entry in table.items()):
            known = names.setdefault(self._resolved(code), [])
            if name not in (*known, code) and _stem(name) not in self._mine:
                known.append(name)
        return names

    def check(self) -> None:
        """Read every file of the user's, so that what is wrong is told before it matters."""
        for code in self._mine.keys() - {EXCHANGES}:
            self.get(code.replace("-", "/"))
        path = self._mine.get(EXCHANGES)
        for source, tables in self._venues.items() if path else ():
            for table in tables.values():
                for name, code in table.items():
                    if self.get(code) is None:
                        raise InvalidCalendar(f"{path}: [{source}] {name}: there is no calendar {code}")

    def _resolved(self, code: str) -> str:
        return code if _stem(code) in self._mine else self._same_as.get(code, code)

    def _of(self, source: str, table: str, name: str) -> Calendar | None:
        code = self._venues.get(source, {}).get(table, {}).get(name)
        return None if code is None else self.get(code)

    def _load(self, code: str) -> Calendar:
        tables, contents = self._tables(code)
        calendar = Calendar(define(code, tables, contents[-1], tuple(str(content.path) for content in contents)))
        if _stem(code) in self._mine:
            _check_overlaps(calendar, contents[-1])
        return calendar

    def _tables(self, code: str) -> tuple[dict[str, Any], list[Content]]:
        """What the files of a calendar come to, and the files, its own last."""
        names = dict.fromkeys((_stem(self._same_as.get(code, code)), _stem(code)))
        paths = (path for name in names for path in (_SHIPPED / f"{name}.toml", self._mine.get(name)))
        contents = [read(path) for path in paths if path is not None and path.exists()]
        tables: dict[str, Any] = {}
        for content in contents:
            tables = content.tables if {"zone", "hours"} <= content.tables.keys() else amended(tables, content.tables)
        other = tables.get("holidays_of")
        if other is None:
            return tables, contents
        if other == code or other not in self.codes():
            raise contents[-1].wrong("holidays_of", f"there is no other calendar {other!r}")
        theirs, of_theirs = self._tables(other)
        if "holidays_of" in theirs:
            raise contents[-1].wrong("holidays_of", f"{other} itself takes its holidays from another")
        return amended(shared(theirs), tables), [*of_theirs, *contents]


def _stem(code: str) -> str:
    """The name of a calendar's file, without its end."""
    return code.replace("/", "-")


def _check_overlaps(calendar: Calendar, content: Content) -> None:
    before = None
    for day in calendar.definition.doubtful():
        session = calendar.session(day)
        if session is None:
            continue
        if before is not None and session.start_ms < before.end_ms:
            raise content.wrong(day.isoformat(), f"begins before {before.day} has ended")
        before = session


def _exchanges(mine: Path | None) -> tuple[dict[str, str], dict[str, dict[str, dict[str, str]]]]:
    same_as: dict[str, str] = {}
    venues: dict[str, dict[str, dict[str, str]]] = {}
    for path in (_SHIPPED / f"{EXCHANGES}.toml", mine):
        if path is None:
            continue
        content = Content(path)
        for name, table in content.tables.items():
            if name == "same_as":
                same_as |= _texts(content, name, table)
                continue
            for kind, entries in content.only(table, {"exchanges", "suffixes"}, name).items():
                venue = venues.setdefault(name, {}).setdefault(kind, {})
                venue |= _texts(content, f"{name}.{kind}", entries)
    return same_as, venues


def _texts(content: Content, name: str, table: object) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise content.wrong(name, 'must be a table like { NMS = "XNYS" }')
    return table


@cache
def calendars_in(folder: Path | None) -> Calendars:
    """The calendars with a user's folder over them, the same ones whoever asks; all of the folder's are checked.

    Raises `InvalidCalendar`.
    """
    if folder is not None and not folder.is_dir():
        raise InvalidCalendar(f"{folder} is no folder: make it, and put files such as XNYS.toml into it")
    calendars = Calendars(folder)
    calendars.check()
    return calendars
