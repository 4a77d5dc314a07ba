"""Settings turned into who may use a worker's HTTP side."""

from __future__ import annotations

import logging
from collections.abc import Callable

from stockstream.settings import Settings
from stockstream.web.guard import Guard
from stockstream.web.health import Check
from stockstream.web.keys import READ, ApiKeys, key_of
from stockstream.web.limits import Limits, networks

log = logging.getLogger(__name__)

_SETTING = "STOCKSTREAM_API_KEY"


def keys_of(settings: Settings) -> ApiKeys:
    """The API keys; `SettingsError` if their file cannot be used."""
    given = settings.api_key
    keys = [] if given is None else [key_of(given.get_secret_value().strip(), _SETTING)]
    return ApiKeys(keys, settings.api_keys_file)


def guard_of(settings: Settings, keys: ApiKeys, now_ms: Callable[[], int]) -> Guard:
    """What stands before every route; ``now_ms`` is the wall clock in epoch ms."""
    return Guard(
        keys,
        reads_are_open=settings.reads_are_open,
        limits=Limits(
            max_body_bytes=settings.web_max_body_bytes,
            max_url_bytes=settings.web_max_url_bytes,
            max_streams=settings.web_max_streams,
            max_streams_per_client=settings.web_max_streams_per_client,
            max_requests=settings.web_max_requests,
            max_requests_per_client=settings.web_max_requests_per_client,
            changes_per_minute=settings.web_changes_per_minute,
            failed_keys_per_minute=settings.web_failed_keys_per_minute,
        ),
        proxies=networks(settings.web_trusted_proxies),
        now_ms=now_ms,
    )


def check_keys(keys: ApiKeys) -> Check:
    """Whether the keys are those that their file holds now."""
    keys.look()
    return Check("API keys", ok=keys.wrong is None, detail=keys.wrong or "", required=False)


def tell_who_may_read(settings: Settings, keys: ApiKeys) -> None:
    """Log that nobody may read, where that is so: hardly what was meant."""
    if not settings.reads_are_open and not keys.allow(READ):
        log.warning(
            "HTTP shows no data to anybody: STOCKSTREAM_WEB_HOST=%s with STOCKSTREAM_READS_OPEN=%s asks readers for an "
            "API key with the scope read, and there is none. Set STOCKSTREAM_API_KEYS_FILE (stockstream api-key makes "
            "keys), or STOCKSTREAM_READS_OPEN=true",
            settings.web_host,
            settings.reads_open,
        )
