"""The one reader of the environment and the config file.

Precedence: environment, then ``stockstream.toml`` in the working directory (or the file that ``STOCKSTREAM_CONFIG``
names), then the defaults below. Environment names are upper case, with the prefix ``STOCKSTREAM_`` except for those
that other tools share; keys of the file are the same names in lower case without the prefix. An empty variable counts
as unset. A secret may also be the content of a file: ``<NAME>_FILE``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stockstream.errors import InvalidSymbol, SettingsError
from stockstream.models import check_symbol
from stockstream.settings.sources import CONFIG, ConfigFile, Environment, is_secret, variable
from stockstream.settings.types import (
    Acks,
    BatchBytes,
    CalendarFolder,
    ClickHouseUrl,
    Compression,
    Count,
    CountOrNone,
    Database,
    Epoch,
    FeedDelays,
    FeedUrl,
    Host,
    HttpUrl,
    LatencyBudget,
    LingerMs,
    LogLevel,
    Name,
    NetworkTexts,
    Port,
    Prefix,
    ReadsOpen,
    RegistryUrl,
    SaslMechanism,
    Seconds,
    SecondsOrNone,
    SecurityProtocol,
    Servers,
    SimUrl,
    Symbols,
    TickSchema,
    Topics,
    UrlBytes,
    is_loopback,
)

OWN_TOPICS = {"candles", "latest", "subscriptions", "connections", "dead-letters", "gaps"}


class Settings(BaseSettings):
    """Every setting with its default; `load` reads them, the bare constructor gives the defaults.

    Names carry their units. ``tick_topics`` and every other topic are written without ``topic_prefix``: see `topic`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    app_id: Name = "stockstream"
    topic_prefix: Prefix = ""
    kafka_bootstrap_servers: Servers = "localhost:9092"
    kafka_security_protocol: SecurityProtocol = "PLAINTEXT"
    kafka_sasl_mechanism: SaslMechanism | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_ca_file: Path | None = None
    kafka_ssl_cert_file: Path | None = None
    kafka_ssl_key_file: Path | None = None
    kafka_ssl_key_password: SecretStr | None = None
    schema_registry_url: RegistryUrl = "http://localhost:8081"
    schema_registry_username: str | None = None
    schema_registry_password: SecretStr | None = None
    schema_registry_ca_file: Path | None = None
    symbols: Symbols = ()
    symbols_file: Path | None = None
    ingest_enabled: bool = True
    repair_enabled: bool = True
    yahoo_url: FeedUrl | None = None
    sim_url: SimUrl | None = None
    binance_url: FeedUrl | None = None
    binance_rest_url: HttpUrl | None = None
    binance_ticker_interval_s: SecondsOrNone = 1.0
    report_interval_s: Seconds = 60.0
    log_every_ticks: CountOrNone = 0
    producer_linger_ms: LingerMs = 4.0
    producer_compression: Compression = "none"
    producer_batch_bytes: BatchBytes = 400_000
    producer_acks: Acks = "all"
    producer_buffer_ticks: Count = 50_000
    producer_shed_after_s: SecondsOrNone = 30.0
    api_key: SecretStr | None = None
    api_keys_file: Path | None = None
    reads_open: ReadsOpen = "auto"
    finnhub_api_token: SecretStr | None = None
    finnhub_symbols: Count = 50
    finnhub_url: FeedUrl | None = None
    ssi_consumer_id: SecretStr | None = None
    ssi_consumer_secret: SecretStr | None = None
    ssi_url: HttpUrl | None = None
    ssi_api_url: HttpUrl | None = None
    calendars: CalendarFolder | None = None
    clickhouse_url: ClickHouseUrl = "http://localhost:8123"
    clickhouse_database: Database = "stockstream"
    clickhouse_user: str | None = None
    clickhouse_password: SecretStr | None = None
    clickhouse_ca_file: Path | None = None
    tick_topics: Topics = ("yfinance", "crypto-prices", "finnhub_market", "vn-market")
    tick_schema: TickSchema = 2
    partitions: Count = 12
    replication: Count = 3
    data_dir: Path = Path("./stockstream-data")
    web_host: Host = "127.0.0.1"
    web_port: Port = 6066
    web_trusted_proxies: NetworkTexts = ()
    web_max_body_bytes: Count = 65_536
    web_max_url_bytes: UrlBytes = 4096
    web_max_streams: Count = 200
    web_max_streams_per_client: Count = 50
    web_max_requests: Count = 128
    web_max_requests_per_client: Count = 64
    web_changes_per_minute: Count = 600
    web_failed_keys_per_minute: Count = 30
    accepted_lateness_s: CountOrNone = 900
    future_tolerance_s: CountOrNone = 60
    close_delay_s: SecondsOrNone = 5.0
    feed_delay_s: FeedDelays = Field(default_factory=dict)
    retention_s: Count = 172_800
    epoch: Epoch = 0
    latency_budget: LatencyBudget = "low"
    partition_fetch_bytes: Count = 2_097_152
    commit_interval_s: Seconds = 1.0
    session_timeout_s: Seconds = 10.0
    heartbeat_interval_s: Seconds = 1.0
    rebalance_timeout_s: Seconds = 10.0
    instance_id: Prefix = ""
    standby_replicas: CountOrNone = 1
    start_timeout_s: Seconds = 60.0
    sink_enabled: bool = True
    sink_rows: Count = 10_000
    sink_interval_ms: Count = 1000
    sink_max_rows: Count = 400_000
    tick_archive: bool = True
    candle_retention_days: CountOrNone = 0
    tick_retention_days: CountOrNone = 0
    log_level: LogLevel = "info"

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Self:
        """Read the settings; ``environ`` and ``cwd`` default to the process's own. Raises `SettingsError`."""
        environ = os.environ if environ is None else environ
        environment = Environment(cls, environ)
        config_file = ConfigFile(cls, environ.get(CONFIG, ""), cwd or Path.cwd())
        origins = {**config_file.origins, **environment.origins}
        try:
            settings = cls(_build_sources=((environment, config_file), {}))  # type: ignore[call-arg]  # documented, but not typed
        except ValidationError as error:
            given = {**config_file.values, **environment.values}
            raise SettingsError(_told(error, origins, given)) from None  # its text and its chain would hold secrets
        settings._origins = origins
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The constructor takes its arguments only: what the environment says comes through `load`."""
        return (init_settings,)

    def topic(self, name: str) -> str:
        """The topic's name on the broker."""
        return self.topic_prefix + name

    def all_symbols(self) -> tuple[str, ...]:
        """``symbols`` and those of ``symbols_file``, each once; raises `SettingsError` if the file cannot be read."""
        listed = () if self.symbols_file is None else read_symbols(self.symbols_file)
        return tuple(dict.fromkeys((*self.symbols, *listed)))

    def source_url(self, source: str) -> str | None:
        """Where a source is, if not at its own address."""
        url: str | None = getattr(self, f"{source}_url", None)
        return url

    def chosen(self, names: Iterable[str]) -> dict[str, Any]:
        """The values of some settings by name; secrets stay wrapped."""
        return {name: getattr(self, name) for name in names}

    def source_rest_url(self, source: str) -> str | None:
        """Where a source's REST interface is, if not at its own address."""
        url: str | None = getattr(self, f"{source}_rest_url", None)
        return url

    def poll_interval_s(self, source: str) -> float:
        """How often a source is asked for what it does not stream; 0 is never."""
        return float(getattr(self, f"{source}_ticker_interval_s", 0.0))

    @property
    def reads_are_open(self) -> bool:
        """Whether whoever reaches the HTTP side may read there."""
        return self.reads_open == "true" or (self.reads_open == "auto" and is_loopback(self.web_host))

    @property
    def clickhouse_login_url(self) -> str:
        """``clickhouse_url`` with the user and password in it, for clients that take one URL."""
        if self.clickhouse_user is None:
            return self.clickhouse_url
        password = self.clickhouse_password.get_secret_value() if self.clickhouse_password else ""
        login = f"{quote(self.clickhouse_user, safe='')}:{quote(password, safe='')}"
        parts = urlsplit(self.clickhouse_url)
        return parts._replace(netloc=f"{login}@{parts.netloc}").geturl()

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return [(name, of["value"]) for name, of in self.masked().items()]

    def masked(self) -> dict[str, dict[str, object]]:
        """Each setting as ``{"value", "source", "variable"}`` fit to be printed: secrets as ``***``."""
        shown: dict[str, dict[str, object]] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                value = "***"
            elif isinstance(value, Path):
                value = str(value)
            elif name.endswith("_url") and value is not None:
                value = _without_password(value)
            shown[name] = {"value": value, "source": self._origins.get(name, "default"), "variable": variable(name)}
        return shown

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if 3 * self.heartbeat_interval_s >= self.session_timeout_s:
            raise ValueError(
                f"heartbeat_interval_s={self.heartbeat_interval_s:g} must be less than a third of "
                f"session_timeout_s={self.session_timeout_s:g}"
            )
        if self.sink_max_rows < self.sink_rows:
            raise ValueError(f"sink_max_rows={self.sink_max_rows} must not be less than sink_rows={self.sink_rows}")
        latest_s = self.accepted_lateness_s + max(self.feed_delay_s.values(), default=0)
        if self.retention_s <= latest_s:
            raise ValueError(
                f"retention_s={self.retention_s} must be more than accepted_lateness_s and the greatest feed_delay_s "
                f"together ({latest_s}): a late tick would find its candle gone"
            )
        taken = OWN_TOPICS.intersection(self.tick_topics)
        if taken:
            raise ValueError(f"tick_topics must not hold {', '.join(sorted(taken))}: stockstream writes there")
        if "token=" in (self.finnhub_url or ""):
            raise ValueError("finnhub_url holds a token: put that into FINNHUB_API_TOKEN instead")
        if self.clickhouse_user is not None and "@" in urlsplit(self.clickhouse_url).netloc:
            raise ValueError("clickhouse_user is set, and clickhouse_url names a user too: keep one of them")
        if self.clickhouse_password is not None and self.clickhouse_user is None:
            raise ValueError("clickhouse_password is set without clickhouse_user")
        if self.schema_registry_password is not None and self.schema_registry_username is None:
            raise ValueError("schema_registry_password is set without schema_registry_username")
        if self.schema_registry_username is not None and "@" in urlsplit(self.schema_registry_url).netloc:
            raise ValueError(
                "schema_registry_username is set, and schema_registry_url names a user too: keep one of them"
            )
        return self._agree_on_keys()._agree_on_sasl()._agree_on_tls()

    def _agree_on_keys(self) -> Self:
        key = None if self.api_key is None else self.api_key.get_secret_value()
        if key is not None and not key.strip():
            raise ValueError("api_key is empty: stockstream api-key makes keys")
        if "sha256:" in (key or ""):  # whoever sees the hash would have the key
            raise ValueError("api_key is a line of a file of keys: name that file in api_keys_file")
        return self

    def _agree_on_sasl(self) -> Self:
        sasl = (self.kafka_sasl_mechanism, self.kafka_sasl_username, self.kafka_sasl_password)
        if self.kafka_security_protocol.startswith("SASL"):
            if None in sasl:
                raise ValueError(
                    f"kafka_security_protocol={self.kafka_security_protocol} needs "
                    "kafka_sasl_mechanism, kafka_sasl_username and kafka_sasl_password"
                )
        elif sasl != (None, None, None):
            raise ValueError(
                f"kafka_sasl_… is set, but kafka_security_protocol={self.kafka_security_protocol} does not use it: "
                "set SASL_SSL or SASL_PLAINTEXT"
            )
        return self

    def _agree_on_tls(self) -> Self:
        certificates = (self.kafka_ssl_ca_file, self.kafka_ssl_cert_file, self.kafka_ssl_key_file)
        if certificates != (None, None, None) and not self.kafka_security_protocol.endswith("SSL"):
            raise ValueError(
                f"kafka_ssl_… is set, but kafka_security_protocol={self.kafka_security_protocol} does not use it: "
                "set SSL or SASL_SSL"
            )
        for name in ("kafka_ssl_key_file", "kafka_ssl_key_password"):
            if getattr(self, name) is not None and self.kafka_ssl_cert_file is None:
                raise ValueError(f"{name} is set without kafka_ssl_cert_file")
        for server in ("schema_registry", "clickhouse"):
            if getattr(self, f"{server}_ca_file") and not getattr(self, f"{server}_url").startswith("https:"):
                raise ValueError(f"{server}_ca_file is set, but {server}_url does not begin with https://")
        return self


def read_symbols(path: Path) -> tuple[str, ...]:
    """The symbols of a file, one a line; what follows a # is a comment. Raises `SettingsError`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        names = [line.partition("#")[0].strip() for line in lines]
        return tuple(dict.fromkeys(check_symbol(name) for name in names if name))
    except (OSError, ValueError, InvalidSymbol) as error:
        raise SettingsError(f"the symbols file {path} is no use: {error}") from error


def _told(error: ValidationError, origins: Mapping[str, str], given: Mapping[str, Any]) -> str:
    """One line for the first of the errors: which variable, its value unless that is secret, what is allowed."""
    errors = error.errors(include_url=False, include_context=False)
    message = errors[0]["msg"].removeprefix("Value error, ").replace("Input should", "must")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if not errors[0]["loc"]:
        return message + more
    name = str(errors[0]["loc"][0])
    value = "***" if is_secret(Settings.model_fields[name]) else repr(given.get(name))
    if name.endswith("_url"):
        value = _without_password(value)
    return f"{origins.get(name, name)} is {value}: {message}{more}"


def _without_password(url: str) -> str:
    without = re.sub(r"(//[^/@:]*:).*@", r"\1***@", url)
    return re.sub(r"([?&][^=&]*(?:token|key|secret|password)[^=&]*=)[^&'\"]*", r"\1***", without, flags=re.IGNORECASE)
