"""``stockstream doctor``: every connection, what is wrong with it, and what to do."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import httpx

from stockstream.adapters import connection_of, feed_of, registry_of, trusting
from stockstream.broker.topics import find_topics
from stockstream.calendars import calendars_in
from stockstream.cli.connect import subjects_of
from stockstream.cli.question import Question
from stockstream.errors import AnsweredNo, InvalidInput, StockstreamError
from stockstream.settings import Settings
from stockstream.sources.catalog import SOURCES, Source, calendar_of, source_of
from stockstream.sources.contract import Guarded, NotAdmitted
from stockstream.trust import distrust_of

_PATIENCE_S = 8.0
_ATTEMPT_S = 5.0
_LITTLE_SPACE_BYTES = 1 << 30
_LAST_DAYS = 14


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome; ``told`` is what there is, or what is wrong and what to do."""

    check: str
    is_good: bool
    told: str


@click.command(cls=Question)
def command() -> None:
    """Check every connection and say what is wrong and what to do.

    Exit code 0: all is well; 1: something is wrong; 2: bad settings, so nothing was checked.
    """
    settings = Settings.load()
    findings = asyncio.run(examine(settings))
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        click.echo(f"{finding.check:{width}}  {'ok   ' if finding.is_good else 'WRONG'}  {finding.told}")
    wrong = sum(not finding.is_good for finding in findings)
    if wrong:
        raise AnsweredNo(f"{wrong} of {len(findings)} checks failed")


async def examine(settings: Settings) -> list[Finding]:
    """Run all checks at once; each gives up in time."""
    checks = {
        "Kafka": _broker(settings),
        "schema registry": _registry(settings),
        "ClickHouse": _clickhouse(settings),
        "data directory": _data_dir(settings.data_dir),
        **_sources(settings),
        **_calendars(settings),
    }
    return list(await asyncio.gather(*(_checked(name, work) for name, work in checks.items())))


async def _checked(check: str, work: Awaitable[str]) -> Finding:
    try:
        return Finding(check, True, await asyncio.wait_for(work, _PATIENCE_S))
    except TimeoutError:
        return Finding(check, False, f"no answer within {_PATIENCE_S:g} s: is the address right, and the way open?")
    except StockstreamError as error:
        return Finding(check, False, str(error))


async def _broker(settings: Settings) -> str:
    counts = await find_topics(connection_of(settings))
    topics = [settings.topic(name) for name in (*settings.tick_topics, "candles", "latest")]
    expected = settings.partitions
    odd = [f"{name} has {counts[name]}" for name in topics if counts.get(name, expected) != expected]
    if odd:
        raise StockstreamError(
            f"topics must have partitions={expected}, but {', '.join(odd)}: set STOCKSTREAM_PARTITIONS to "
            "what all of them have, or create them anew"
        )
    missing = [name for name in topics if name not in counts]
    made = f"; created at start: {', '.join(missing)}" if missing else ""
    return f"{settings.kafka_bootstrap_servers}, {len(topics) - len(missing)} of {len(topics)} topics{made}"


async def _registry(settings: Settings) -> str:
    registry = registry_of(settings, _ATTEMPT_S)
    try:
        await registry.ping()
        subjects = subjects_of(settings)
        there = [await registry.check(subject, schema) for subject, schema in subjects.items()]
    finally:
        await registry.close()
    return f"{registry.name}, {sum(there)} of {len(subjects)} schemas registered, the others can be"


async def _clickhouse(settings: Settings) -> str:
    if not settings.sink_enabled:
        return "not used: sink_enabled is false"
    url = urlsplit(settings.clickhouse_login_url)
    if url.scheme == "chdb":
        if importlib.util.find_spec("chdb") is None:
            raise StockstreamError("the embedded ClickHouse is not installed: pip install 'stockstream[demo]'")
        return f"embedded, {await _data_dir(Path(url.path))}"
    where = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    login = httpx.BasicAuth(unquote(url.username), unquote(url.password or "")) if url.username else None
    tls = trusting(settings.clickhouse_ca_file, "clickhouse_ca_file")
    try:
        async with httpx.AsyncClient(auth=login, timeout=_ATTEMPT_S, verify=tls or True) as client:
            answer = await client.get(f"{where}/", params={"query": "SELECT version()"})
    except httpx.RequestError as error:
        distrust = distrust_of(error, ca_setting="STOCKSTREAM_CLICKHOUSE_CA_FILE", address_setting="CLICKHOUSE_URL")
        if distrust is not None:
            raise StockstreamError(f"ClickHouse at {where} {distrust}") from error
        raise StockstreamError(
            f"ClickHouse does not answer at {where} ({error or type(error).__name__}): start it, or set CLICKHOUSE_URL"
        ) from error
    text = " ".join(answer.text.split())[:200]
    if answer.status_code in (401, 403, 516) or "AUTHENTICATION_FAILED" in text:
        raise StockstreamError(f"ClickHouse at {where} refuses the user: set STOCKSTREAM_CLICKHOUSE_USER and _PASSWORD")
    if answer.status_code != httpx.codes.OK:
        raise StockstreamError(f"ClickHouse at {where} answers {answer.status_code}: {text}")
    return f"{where}, version {text}"


def _sources(settings: Settings) -> dict[str, Awaitable[str]]:
    """A check of each source with symbols in the settings, and of those that are of none."""
    symbols: Counter[str] = Counter()
    strays: list[str] = []
    for symbol in settings.all_symbols():
        try:
            symbols[source_of(symbol).name] += 1
        except InvalidInput as error:
            strays.append(str(error))
    checks: dict[str, Awaitable[str]] = {
        f"source {name}": _source(settings, SOURCES[name], count) for name, count in symbols.items()
    }
    return checks | ({"symbols": _stray(strays)} if strays else {})


async def _source(settings: Settings, source: Source, symbols: int) -> str:
    feed = feed_of(settings, source)
    if source.topic not in settings.tick_topics:
        raise StockstreamError(f"its topic {source.topic} is not read: add it to STOCKSTREAM_TICK_TOPICS")
    told = f"{symbols:,} symbol{'' if symbols == 1 else 's'}"
    if not isinstance(feed, Guarded):
        return told
    try:
        await feed.locate()
    except NotAdmitted as error:
        raise StockstreamError(str(error)) from error
    return f"{told}, key set; no connection was tried, as one more may end those that are open"


def _calendars(settings: Settings) -> dict[str, Awaitable[str]]:
    """A check of the calendars by which the symbols in the settings are traded, if holidays matter to any of them."""
    calendars = calendars_in(settings.calendars)
    used = {calendar_of(calendars, symbol) for symbol in settings.all_symbols()}
    ends = sorted((each.last, each.code) for each in used if each is not None and each.last is not None)
    return {"calendars": _known_until(ends)} if ends else {}


async def _known_until(ends: Sequence[tuple[date, str]]) -> str:
    """Say when the first of the calendars ends; an error if that is soon."""
    today = datetime.now(UTC).date()
    soon = [
        f"{code} end{'s' if last >= today else 'ed'} on {last}"
        for last, code in ends
        if (last - today).days < _LAST_DAYS
    ]
    if soon:
        raise StockstreamError(
            f"{', '.join(soon)}: later holidays are not known. Install a newer stockstream, or put files with them "
            "into a folder and set STOCKSTREAM_CALENDARS (docs/calendars.md)"
        )
    last, first = ends[0]
    codes = ", ".join(sorted(code for _, code in ends))
    return f"holidays of {codes} are known; {first} ends first, in {(last - today).days} days"


async def _stray(errors: Sequence[str]) -> str:
    raise StockstreamError("; ".join(errors))


async def _data_dir(path: Path) -> str:
    return await asyncio.to_thread(_space, path)


def _space(path: Path) -> str:
    """Say how much room there is; a directory that does not exist yet is judged by the one it will be made in."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    try:
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(f"{there} cannot be written by this user")
        with tempfile.TemporaryFile(dir=there):
            pass
        free_bytes = shutil.disk_usage(there).free
    except OSError as error:
        raise StockstreamError(
            f"{path} is not usable ({error}): set STOCKSTREAM_DATA_DIR, or change its owner"
        ) from error
    if free_bytes < _LITTLE_SPACE_BYTES:
        raise StockstreamError(f"{path} has {free_bytes / 1e9:.1f} GB left: free some, or set another")
    return f"{path}, {free_bytes / 1e9:.0f} GB free"
