"""What doctor asks of the schema registry and of ClickHouse."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from stockstream.adapters import registry_of, trusting
from stockstream.broker.clock import Reading
from stockstream.cli.connect import subjects_of
from stockstream.cli.doctor.finding import ATTEMPT_S, Finding, checked, told_of_clock
from stockstream.cli.doctor.machine import room_in
from stockstream.errors import SchemaRefused, StockstreamError
from stockstream.settings import Settings
from stockstream.trust import distrust_of

_QUERY = "SELECT version(), toUnixTimestamp64Milli(now64(3))"


async def check_registry(settings: Settings) -> str:
    """Whether the registry answers, and has or takes the schemas that we write."""
    registry = registry_of(settings, ATTEMPT_S)
    there, refused = 0, []
    try:
        await registry.ping()
        subjects = subjects_of(settings)
        for subject, schema in subjects.items():
            try:
                there += await registry.check(subject, schema)
            except SchemaRefused as error:
                refused.append(str(error))
    finally:
        await registry.close()
    if refused:
        raise StockstreamError("; ".join(refused))
    return f"{registry.name}, {there} of {len(subjects)} schemas registered, the others can be"


async def examine_clickhouse(settings: Settings) -> list[Finding]:
    """Whether ClickHouse answers, and if it does, what time it has."""
    readings: list[Reading] = []
    reached = await checked("ClickHouse", _clickhouse(settings, readings))
    return [reached, *[await checked("clock of ClickHouse", _clock(settings, reading)) for reading in readings]]


async def _clickhouse(settings: Settings, readings: list[Reading]) -> str:
    if not settings.sink_enabled:
        return "not used: sink_enabled is false"
    url = urlsplit(settings.clickhouse_login_url)
    if url.scheme == "chdb":
        if importlib.util.find_spec("chdb") is None:
            raise StockstreamError("the embedded ClickHouse is not installed: pip install 'stockstream[demo]'")
        return f"embedded, {await room_in(Path(url.path), 'CLICKHOUSE_URL')}"
    where = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    asked_ns = time.time_ns()
    version, now_ms = await _ask(settings, url, where)
    readings.append(Reading.taken(now_ms, asked_ns, time.time_ns()))
    return f"{where}, version {version}"


async def _ask(settings: Settings, url: SplitResult, where: str) -> tuple[str, int]:
    """ClickHouse's version, and the time that it has, epoch ms."""
    login = httpx.BasicAuth(unquote(url.username), unquote(url.password or "")) if url.username else None
    tls = trusting(settings.clickhouse_ca_file, "clickhouse_ca_file")
    try:
        async with httpx.AsyncClient(auth=login, timeout=ATTEMPT_S, verify=tls or True) as client:
            answer = await client.get(f"{where}/", params={"query": _QUERY})
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
    version, _, now_ms = text.partition(" ")
    if answer.status_code != httpx.codes.OK or not now_ms.isdecimal():
        raise StockstreamError(f"ClickHouse at {where} answers {answer.status_code}: {text}")
    return version, int(now_ms)


async def _clock(settings: Settings, reading: Reading) -> str:
    return told_of_clock(settings, "ClickHouse", reading)
