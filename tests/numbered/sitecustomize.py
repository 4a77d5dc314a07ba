"""Runs first in a worker whose PYTHONPATH names this folder: gives it the source ``numbered``, at ``NUMBERED_URL``."""

from __future__ import annotations

import os

from numbered_feed import NAME, TOPIC, NumberedFeed, NumberedHistory

from stockstream.settings import Settings
from stockstream.sources.catalog import SOURCES, Source

_url = os.environ["NUMBERED_URL"]
SOURCES[NAME] = Source(
    NAME, TOPIC, _url, NumberedFeed.capabilities, NumberedFeed, rest_url=_url, make_history=NumberedHistory
)
Settings.numbered_url = None  # type: ignore[attr-defined]  # what a venue of ours has as a setting
