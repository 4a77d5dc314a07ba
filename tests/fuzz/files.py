"""Files of users: settings, calendars, recordings, API keys, symbols."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import pyarrow
from fuzz.feeds import written
from fuzz.mutation import WORDS, Corpus
from fuzz.target import Take, Target
from pyarrow import parquet

from stockstream.calendars import Calendars
from stockstream.core.offline import OfflineEngine
from stockstream.errors import InvalidCalendar, InvalidInput, MalformedTrades, SettingsError
from stockstream.settings import Settings
from stockstream.settings.model import read_symbols
from stockstream.settings.sources import variable
from stockstream.sources.replay.files import open_recording
from stockstream.web.keys import SCOPES, ApiKeys, key_of

_T0_MS = 1_763_000_000_000
_TOML = [*WORDS, b"1979-05-27", b"0001-01-01", b"9999-12-31", b"07:32:00", b"1979-05-27T07:32:00Z", b"2026-12-24"]
_TOML += [
    b'"Mon-Fri"',
    b'"Sun"',
    b'"24:00"',
    b'"09:30"',
    b'"17:00 the day before"',
    b'"UTC"',
    b'"Asia/Tokyo"',
    b'"../x"',
]
_TOML += [
    b'"11:30-12:30"',
    b"[1, 2]",
    b'{ name = "x" }',
    b"'''x'''",
    b"[[hours]]",
    b"[sessions]",
    b"a.b",
    b'"/"',
    b'"."',
]

_SETTINGS = b"""\
app_id = "candles"
topic_prefix = "p-"
kafka_bootstrap_servers = "broker-1:9092,[::1]:9092"
kafka_security_protocol = "SASL_SSL"
kafka_sasl_mechanism = "PLAIN"
kafka_sasl_username = "u"
kafka_sasl_password = "s3cret"
schema_registry_url = "https://u:p@registry:8081/apis?x=1"
symbols = ["AAPL", "BINANCE:BTCUSDT"]
finnhub_url = "wss://ws.finnhub.io"
clickhouse_url = "http://user:pw@[::1]:8123"
sim_url = "sim:?seed=7&ticks_per_s=20"
tick_topics = ["sim", "yfinance"]
feed_delay_s = { VSE = 900, NMS = 0 }
partitions = 12
heartbeat_interval_s = 1.5
sink_enabled = false
latency_budget = "thrifty"
web_port = 6066
web_trusted_proxies = "10.0.0.0/8,::1"
reads_open = true
epoch = 1
producer_acks = -1
tick_schema = 2
log_level = "info"
"""
_CALENDAR = b"""\
name = "Test exchange"
zone = "Asia/Ho_Chi_Minh"
first = 2024-01-01
last = 2026-12-31
extended = { from = "08:00", to = "16:00" }
sources = ["a list"]

[[hours]]
open = "09:00"
close = "14:45"
break = "11:30-13:00"
weekdays = "Mon-Fri"

[[hours]]
since = 2025-05-01
open = "17:00 the day before"
close = "16:00"

[[phases]]
name = "ATO"
kind = "auction"
anchor = "open"
from = "09:00"
to = "09:15"
since = 2024-02-01
until = 2026-02-01

[holidays]
2024-01-01 = "New Year's Day"
2024-02-08 = { name = "Tet", estimated = true }
2024-02-09 = false

[sessions]
2024-12-24 = { close = "12:00" }
2024-12-28 = { open = "09:00", close = "13:00", break = "" }
"""
_EXCHANGES = b"""\
[same_as]
XNAS = "XNYS"
MINE = "HOSE"

[yahoo.exchanges]
NMS = "XNAS"

[yahoo.suffixes]
VN = "HOSE"
"""
_CSV = b"""\
event_ms,trade_id,price,size,side,symbol,received_ms,kind,day_volume,until_ms,cause
1763000000000,1,189.5,100,B,AAPL,1763000000005,trade,,,
1763000000100.5,2,189.25,0.00000001,S,BTC-USD,,,,,
1763000000200,,1.5,,,AAPL,1763000000205,snapshot,1200,,
1763000000300,,0,,,AAPL,,gap,,1763000000900,silent
"""
_PLAIN_CSV = b"event_ms,trade_id,price,size\n1763000000000,1,189.5,100\n1763000000100,2,189.25,3\n" + (
    b"1763000000200,3,1.5,0\n" * 3
)
_ROWS: list[dict[str, object]] = [
    {"event_ms": _T0_MS, "trade_id": 1, "price": 189.5, "size": 100.0, "symbol": "AAPL", "kind": "trade"},
    {"event_ms": _T0_MS + 5, "price": 1.5, "size": None, "trade_id": None, "symbol": "A", "kind": "snapshot"},
    {"event_ms": _T0_MS, "until_ms": _T0_MS + 9, "kind": "gap", "cause": "silent", "symbol": "AAPL", "price": 0},
]
_SAYS = {
    "SYMBOLS": "AAPL, BTC-USD",
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "STOCKSTREAM_FEED_DELAY_S": "VSE=900,NMS=15",
    "CLICKHOUSE_URL": "http://user:pw@localhost:8123",
    "SCHEMA_REGISTRY_URL": "https://u:p@registry:8081",
    "STOCKSTREAM_SIM_URL": "sim:?seed=7",
    "STOCKSTREAM_FINNHUB_URL": "wss://ws.finnhub.io/?token=x",
    "STOCKSTREAM_WEB_TRUSTED_PROXIES": "10.0.0.0/8",
    "STOCKSTREAM_LATENCY_BUDGET": "50",
    "STOCKSTREAM_EPOCH": "1",
    "STOCKSTREAM_COMMIT_INTERVAL_S": "0.5",
    "STOCKSTREAM_READS_OPEN": "true",
    "STOCKSTREAM_CONFIG": "other.toml",
}


def _used(settings: Settings) -> bool:
    """Everything that is shown or made of settings."""
    _ = (
        repr(settings),
        settings.masked(),
        settings.all_symbols(),
        settings.clickhouse_login_url,
        settings.reads_are_open,
    )
    return True


def _open_config(folder: Path) -> Take:
    (folder / "symbols").write_text("AAPL\n# none\nBTC-USD\n")

    def take(data: bytes) -> int:
        (folder / "stockstream.toml").write_bytes(data)
        return _used(Settings.load({}, folder))

    return take


def _environments() -> list[Corpus]:
    lines = [f"{name}={value}".encode() for name, value in _SAYS.items()]
    lines += [f"{variable(name)}=1".encode() for name in Settings.model_fields]
    return [Corpus([*lines, b"\n".join(lines[:8])], is_text=True)]


def _open_environment(folder: Path) -> Take:
    def take(data: bytes) -> int:
        pairs = (
            line.partition("=") for line in data.replace(b"\0", b"").decode("utf-8", "surrogateescape").split("\n")
        )
        return _used(Settings.load({name: value for name, _, value in pairs}, folder))

    return take


def _toml(text: bytes) -> Callable[[], list[Corpus]]:
    return lambda: [Corpus([text], is_text=True, words=_TOML)]


def _open_calendar(name: str) -> Callable[[Path], Take]:
    def opened(folder: Path) -> Take:
        days = [date(2024, 12, 24), date(1970, 1, 1), date(2024, 2, 29), date(9997, 12, 31)]

        def take(data: bytes) -> int:
            (folder / name).write_bytes(data)
            calendars = Calendars(folder)
            calendars.check()
            calendar = calendars.named("MINE")
            if calendar is not None:
                for day in days:
                    calendar.session(day)
                for at_ms in (0, _T0_MS, 1_735_030_800_000, 253_000_000_000_000):
                    calendar.state(at_ms)
            calendars.of_suffix("yahoo", "VN")
            calendars.same_as()
            return True

        return take

    return opened


def _recordings() -> list[Corpus]:
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in _ROWS)
    texts = [_CSV, _PLAIN_CSV, lines, b"\xef\xbb\xbf" + _CSV.replace(b"\n", b"\r\n")]
    packed = [gzip.compress(text, mtime=0) for text in texts]
    return [Corpus(texts[:2], is_text=True), Corpus(texts, is_text=True), Corpus(packed), Corpus(texts, _packed)]


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def _parquets() -> list[Corpus]:
    rows = next(csv.DictReader(io.StringIO(_PLAIN_CSV.decode())))
    plain = {name: [float(value) if name in ("price", "size") else int(value)] * 5 for name, value in rows.items()}
    stamped = {**plain, "event_ms": pyarrow.array([_T0_MS * 1000] * 5, pyarrow.timestamp("us", "UTC"))}
    texts: Mapping[str, object] = {
        **plain, "symbol": pyarrow.array(["AAPL"] * 5).dictionary_encode(), "kind": ["trade", None] * 2 + ["quote"],
    }  # fmt: skip
    files = []
    for columns in (plain, stamped, texts):
        for compression in ("none", "snappy"):
            file = io.BytesIO()
            parquet.write_table(pyarrow.table(columns), file, compression=compression)
            files.append(file.getvalue())
    return [Corpus(files, lambda data: data if data[:4] == b"PAR1" else b"PAR1" + data[4:])]


def _open_recording(folder: Path) -> Take:
    check = written()

    def take(data: bytes) -> int:
        file = folder / "trades"
        file.write_bytes(data)
        engine, count = OfflineEngine(), 0
        with open_recording(str(file)) as trades:
            for tick in trades:
                check(tick)
                engine.add([tick])
                count += 1
        for interval in ("1m", "1d"):
            for _ in engine.candles(interval):
                pass
        return count

    return take


def _keys() -> list[Corpus]:
    keys = [key_of("secret", "reader", SCOPES[:1]), key_of("other", "writer.1", SCOPES, _T0_MS)]
    return [Corpus(["\n".join(["# keys", *(key.line for key in keys)]).encode(), keys[1].line.encode()], is_text=True)]


def _open_keys(folder: Path) -> Take:
    def take(data: bytes) -> int:
        (folder / "keys").write_bytes(data)
        return len(ApiKeys(file=folder / "keys"))

    return take


def _symbols() -> list[Corpus]:
    return [Corpus([b"AAPL\n# none\nBTC-USD # one\n\nBINANCE:BTCUSDT\n"], is_text=True)]


def _open_symbols(folder: Path) -> Take:
    def take(data: bytes) -> int:
        (folder / "symbols").write_bytes(data)
        return len(read_symbols(folder / "symbols"))

    return take


TARGETS = [
    Target("config-file", "stockstream.toml", _toml(_SETTINGS), _open_config, (SettingsError,), 100_000),
    Target("environment", "variables of settings", _environments, _open_environment, (SettingsError,), 100_000),
    Target("calendar-file", "a calendar", _toml(_CALENDAR), _open_calendar("MINE.toml"), (InvalidCalendar,), 100_000),
    Target(
        "exchanges-file",
        "which exchange has which calendar",
        _toml(_EXCHANGES),
        _open_calendar("exchanges.toml"),
        (InvalidCalendar,),
        100_000,
    ),
    Target(
        "recordings",
        "CSV and JSON lines, plain and gzip, and candles of them",
        _recordings,
        _open_recording,
        (MalformedTrades, InvalidInput),
        200_000,
    ),
    Target("parquet", "the same in Parquet", _parquets, _open_recording, (MalformedTrades, InvalidInput), 100_000),
    Target("api-keys", "a file of API keys", _keys, _open_keys, (SettingsError,), 200_000),
    Target("symbols-file", "a file of symbols", _symbols, _open_symbols, (SettingsError,), 200_000),
]
