"""When exchanges trade: sessions and trading dates by epoch ms, from small files that a user can amend."""

from stockstream.calendars.calendar import Calendar
from stockstream.calendars.catalog import Calendars, calendars_in
from stockstream.calendars.hours import hours_of
from stockstream.calendars.session import Session

__all__ = ["Calendar", "Calendars", "Session", "calendars_in", "hours_of"]
