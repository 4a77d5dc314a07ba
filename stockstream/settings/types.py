"""What values settings may have, and the texts that they are read from."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from stockstream.calendars import calendars_in
from stockstream.core.row import MAX_EPOCH
from stockstream.errors import InvalidCalendar, InvalidSymbol
from stockstream.models import check_symbol


def split(text: str) -> list[str]:
    """The parts of a comma-separated list; those that are blank are none."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _split(value: object) -> object:
    return split(value) if isinstance(value, str) else value


def _split_pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise ValueError("must be exchange=seconds,… such as VSE=900")
    return {name.strip(): seconds.strip() for name, _, seconds in pairs}


def _symbol(text: str) -> str:
    try:
        return check_symbol(text)
    except InvalidSymbol as error:
        raise ValueError(str(error)) from error


def _calendars(folder: Path) -> Path:
    try:
        calendars_in(folder)
    except InvalidCalendar as error:
        raise ValueError(str(error)) from error
    return folder


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _servers(text: str) -> str:
    for server in text.split(","):
        if not re.fullmatch(r"\s*(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}\s*", server):
            raise ValueError("must be host:port,… such as broker-1:9092,broker-2:9092")
    return text


def _url(*schemes: str) -> AfterValidator:
    def check(text: str) -> str:
        parts = urlsplit(text)
        has_place = parts.path.strip("/") if parts.scheme == "chdb" else parts.hostname and parts.port != 0
        if parts.scheme not in schemes or not has_place:
            raise ValueError(f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return text

    return AfterValidator(check)


def _sim_url(text: str) -> str:
    if text.partition("?")[0] != "sim:":
        raise ValueError("must be sim: or sim:?name=value&name=value such as sim:?seed=7&ticks_per_s=20")
    return text


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _digit(value: object) -> object:
    return int(value) if value in ("1", "2") else value


def _acks(value: object) -> object:
    """Kafka's own spellings; -1 is all."""
    text = str(value).lower() if isinstance(value, str | int) and not isinstance(value, bool) else value
    return "all" if text == "-1" else text


def _number_or_lower(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else _lower(value)


def _network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError("must be addresses or networks by comma, such as 10.0.0.0/8,192.168.1.7") from error
    return text


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there; False for names other than ``localhost``."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _choice(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else _lower(value)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,200}$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,100}$")]
Host = Annotated[str, StringConstraints(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Database = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,100}$")]
Servers = Annotated[str, AfterValidator(_servers)]
FeedUrl = Annotated[str, _url("ws", "wss")]
SimUrl = Annotated[str, AfterValidator(_sim_url)]
HttpUrl = Annotated[str, _url("http", "https")]
RegistryUrl = HttpUrl
ClickHouseUrl = Annotated[str, _url("http", "https", "chdb")]
ReadsOpen = Annotated[Literal["auto", "true", "false"], BeforeValidator(_choice)]
NetworkTexts = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], BeforeValidator(_split)]
UrlBytes = Annotated[int, Field(ge=256, le=8000)]  # a line of a request has at most 8190 for aiohttp
SecurityProtocol = Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(_upper)]
SaslMechanism = Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], BeforeValidator(_upper)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
Compression = Annotated[Literal["none", "gzip", "lz4", "zstd", "snappy"], BeforeValidator(_lower)]
Acks = Annotated[Literal["all", "1", "0"], BeforeValidator(_acks)]
BatchBytes = Annotated[int, Field(ge=1024, le=1_000_000)]
LingerMs = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
TickSchema = Annotated[Literal[1, 2], BeforeValidator(_digit)]
Symbols = Annotated[
    tuple[Annotated[str, AfterValidator(_symbol)], ...], BeforeValidator(_split), AfterValidator(_distinct)
]
Topics = Annotated[tuple[Name, ...], BeforeValidator(_split), AfterValidator(_distinct), Field(min_length=1)]
FeedDelays = Annotated[dict[Name, Annotated[int, Field(ge=0)]], BeforeValidator(_split_pairs)]
CalendarFolder = Annotated[Path, AfterValidator(_calendars)]
Epoch = Annotated[int, Field(ge=0, le=MAX_EPOCH)]
LatencyBudget = Annotated[
    Literal["low", "thrifty"] | Annotated[int, Field(ge=1, le=1000)], BeforeValidator(_number_or_lower)
]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False)]
