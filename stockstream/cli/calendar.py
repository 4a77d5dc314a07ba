"""``stockstream calendar``: when exchanges trade, so that an override can be checked."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

from stockstream.calendars import Calendar, Calendars, Session, calendars_in
from stockstream.calendars.session import Part
from stockstream.cli.text import aligned
from stockstream.settings import Settings
from stockstream.web.times import stamp

_DAYS = 14
_DATE = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("exchange", required=False)
@click.option("--from", "first", type=_DATE, help="First trading date. [default: today]")
@click.option("--to", "last", type=_DATE, help=f"Last trading date. [default: {_DAYS} days after the first]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(exchange: str | None, first: datetime | None, last: datetime | None, as_json: bool) -> None:
    """Show the sessions and holidays of EXCHANGE: a calendar's code such as XNYS, or an exchange's as a feed names it.

    Without EXCHANGE, list all calendars. What a folder of your own says (STOCKSTREAM_CALENDARS) is in force.
    """
    calendars = calendars_in(Settings.load().calendars)
    if exchange is None:
        _list(calendars, as_json)
        return
    calendar = calendars.named(exchange)
    if calendar is None:
        raise click.UsageError(f"there is no calendar {exchange!r}: stockstream calendar lists all")
    start = first.date() if first else datetime.now(calendar.zone).date()
    end = last.date() if last else start + timedelta(_DAYS)
    if end < start:
        raise click.UsageError("--to lies before --from")
    days = [start + timedelta(number) for number in range((end - start).days + 1)]
    told = [day for day in days if calendar.session(day) or calendar.holiday(day)]
    if as_json:
        shown = {**_described(calendar), "days": [_as_json(calendar, day) for day in told]}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    click.echo(f"{calendar.code}: {calendar.name}, {calendar.zone.key}; {_known(calendar)}")
    for file in calendar.definition.files:
        click.echo(f"from {file}")
    for source in calendar.definition.sources:
        click.echo(f"source {source}")
    if not told:
        click.echo("no sessions and no holidays on these dates")
        return
    click.echo()
    header = ("date", "day", "opens UTC", "closes UTC", "local", "")
    for line in aligned([header, *(_row(calendar, day) for day in told)]):
        click.echo(line)


def _list(calendars: Calendars, as_json: bool) -> None:
    others = calendars.same_as()
    found = [calendar for code in calendars.codes() if (calendar := calendars.get(code)) is not None]
    if as_json:
        rows = [{**_described(each), "also": others.get(each.code, [])} for each in found]
        click.echo(json.dumps({"calendars": rows}, indent=2, ensure_ascii=False))
        return
    table = [
        (each.code, each.name, each.zone.key, str(each.last or "always"), " ".join(others.get(each.code, [])))
        for each in found
    ]
    for line in aligned([("code", "name", "zone", "known until", "also called"), *table]):
        click.echo(line)


def _described(calendar: Calendar) -> dict[str, Any]:
    return {
        "code": calendar.code,
        "name": calendar.name,
        "zone": calendar.zone.key,
        "known_from": None if calendar.first is None else calendar.first.isoformat(),
        "known_until": None if calendar.last is None else calendar.last.isoformat(),
        "sources": list(calendar.definition.sources),
        "files": list(calendar.definition.files),
    }


def _known(calendar: Calendar) -> str:
    if calendar.last is None:
        return "it has no holidays"
    return f"holidays are known from {calendar.first} to {calendar.last}"


def _as_json(calendar: Calendar, day: date) -> dict[str, Any]:
    shown: dict[str, Any] = {"date": day.isoformat(), "is_known": calendar.is_known(day)}
    holiday, session = calendar.holiday(day), calendar.session(day)
    if holiday is not None:
        return {**shown, "holiday": holiday.name, "is_estimate": holiday.is_estimate}
    if session is not None:
        shown |= stamp("open", session.open_ms) | stamp("close", session.close_ms)
        shown |= stamp("regular_end", session.regular_end_ms)
        shown |= stamp("start", session.start_ms) | stamp("end", session.end_ms)
        shown |= {"opens_late": session.opens_late, "closes_early": session.closes_early}
        shown["parts"] = [
            {"name": part.name, "kind": part.kind, **stamp("start", part.start_ms), **stamp("end", part.end_ms)}
            for part in session.parts
        ]
    return shown


def _row(calendar: Calendar, day: date) -> tuple[str, ...]:
    holiday, session = calendar.holiday(day), calendar.session(day)
    begin = (day.isoformat(), f"{day:%a}")
    if holiday is not None:
        return (*begin, "holiday", "", "", holiday.name + (" (an estimate)" if holiday.is_estimate else ""))
    if session is None:
        return (*begin, "", "", "", "")
    return (*begin, _utc(session.open_ms), _utc(session.close_ms), _local(calendar, session), _notes(calendar, session))


def _notes(calendar: Calendar, session: Session) -> str:
    notes = ["opens late"] if session.opens_late else []
    notes += ["closes early"] if session.closes_early else []
    notes += [] if calendar.is_known(session.day) else ["usual hours: not known yet"]
    return ", ".join((*notes, *(f"{part.name} {_span(calendar, part)}" for part in session.parts)))


def _span(calendar: Calendar, part: Part) -> str:
    start, end = (_moment(calendar, at_ms) for at_ms in (part.start_ms, part.end_ms))
    return f"{start:%H:%M}-{end:%H:%M}"


def _local(calendar: Calendar, session: Session) -> str:
    start, end = (_moment(calendar, at_ms) for at_ms in (session.open_ms, session.close_ms))
    before = "" if start.date() == session.day else f"{start:%a} "
    return f"{before}{start:%H:%M}-{end:%H:%M}"


def _moment(calendar: Calendar, at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, calendar.zone)


def _utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"
