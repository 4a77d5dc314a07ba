from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stockstream.calendars import calendars_in
from stockstream.errors import SettingsError
from stockstream.settings import Settings


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(environ: Mapping[str, str] | None = None, toml: str | None = None) -> Settings:
    if toml is not None:
        Path("stockstream.toml").write_text(toml)
    return Settings.load(environ or {}, Path.cwd())


def refused(environ: Mapping[str, str] | None = None, toml: str | None = None) -> str:
    with pytest.raises(SettingsError) as error:
        load(environ, toml)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    return str(error.value)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = load()
    assert settings == Settings()
    assert (settings.kafka_bootstrap_servers, settings.schema_registry_url, settings.clickhouse_url) == (
        "localhost:9092", "http://localhost:8081", "http://localhost:8123",
    )  # fmt: skip
    assert (settings.tick_schema, settings.partitions, settings.replication, settings.web_port) == (2, 12, 3, 6066)
    assert settings.symbols == ()


def test_the_environment_comes_before_the_file() -> None:
    settings = load({"STOCKSTREAM_PARTITIONS": "6"}, "partitions = 4\nreplication = 1\n")
    assert (settings.partitions, settings.replication) == (6, 1)


@pytest.mark.parametrize(("text", "budget"), [("low", "low"), ("Thrifty", "thrifty"), ("250", 250)])
def test_a_latency_budget_is_a_word_or_milliseconds(text: str, budget: object) -> None:
    assert load({"STOCKSTREAM_LATENCY_BUDGET": text}).latency_budget == budget
    assert load({}, f'latency_budget = "{text}"').latency_budget == budget


@pytest.mark.parametrize("text", ["0", "1001", "-5", "fast"])
def test_another_latency_budget_is_refused(text: str) -> None:
    assert "STOCKSTREAM_LATENCY_BUDGET" in refused({"STOCKSTREAM_LATENCY_BUDGET": text})


def test_a_folder_of_calendars_is_read_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert load({"STOCKSTREAM_CALENDARS": "mine"}).calendars == Path("mine")
    (tmp_path / "mine" / "XNYS.toml").write_text('[holidays]\n2026-13-01 = "x"\n')
    calendars_in.cache_clear()
    message = refused({"STOCKSTREAM_CALENDARS": "mine"})
    assert "STOCKSTREAM_CALENDARS in the environment is 'mine'" in message
    assert "mine/XNYS.toml: line 2, 2026-13-01: is no date: write 2026-12-24" in message
    assert "nowhere is no folder: make it" in refused({}, 'calendars = "nowhere"\n')


@pytest.mark.parametrize(("text", "acks"), [("all", "all"), ("ALL", "all"), ("-1", "all"), ("1", "1"), ("0", "0")])
def test_acks_are_spelled_as_kafka_spells_them(text: str, acks: str) -> None:
    assert load({"STOCKSTREAM_PRODUCER_ACKS": text}).producer_acks == acks
    if text.strip("-").isdecimal():
        assert load(toml=f"producer_acks = {text}").producer_acks == acks


def test_shared_names_have_no_prefix() -> None:
    settings = load(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2",
            "SCHEMA_REGISTRY_URL": "https://registry.test/path",
            "SYMBOLS": "AAPL, VCB.VN,AAPL,",
            "CLICKHOUSE_URL": "chdb:///data",
            "FINNHUB_API_TOKEN": "t0ken",
        }
    )
    assert settings.kafka_bootstrap_servers == "a:1,b:2"
    assert settings.symbols == ("AAPL", "VCB.VN")
    assert settings.finnhub_api_token is not None
    assert settings.finnhub_api_token.get_secret_value() == "t0ken"


def test_the_process_environment_is_read_by_load_and_by_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKSTREAM_EPOCH", "7")
    assert Settings.load().epoch == 7
    assert Settings().epoch == 0


def test_lists_and_mappings_are_written_as_text_or_as_toml() -> None:
    text = {"STOCKSTREAM_FEED_DELAY_S": "VSE=900, NYQ=0", "STOCKSTREAM_TICK_TOPICS": "a,b"}
    toml = 'tick_topics = ["a", "b"]\nfeed_delay_s = {VSE = 900, NYQ = 0}\n'
    for settings in (load(text), load(toml=toml)):
        assert settings.feed_delay_s == {"VSE": 900, "NYQ": 0}
        assert settings.tick_topics == ("a", "b")


def test_an_empty_variable_is_unset() -> None:
    assert load({"FINNHUB_API_TOKEN": "", "STOCKSTREAM_PARTITIONS": ""}) == Settings()


def test_the_config_file_can_be_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("epoch = 3")
    assert load({"STOCKSTREAM_CONFIG": "other.toml"}, "epoch = 4").epoch == 3
    assert "gone.toml" in refused({"STOCKSTREAM_CONFIG": "gone.toml"})


@pytest.mark.parametrize("text", ["partitions =", "partitions = 1\npartitions = 2", "symbols = " + "[" * 3000])
def test_what_is_no_toml_is_refused(text: str) -> None:
    assert "stockstream.toml is no TOML" in refused(toml=text)


def test_secrets_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    login = {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "me"}
    settings = load({**login, "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "secret")})
    assert settings.kafka_sasl_password is not None
    assert settings.kafka_sasl_password.get_secret_value() == "hush"
    in_toml = load(toml='clickhouse_user = "me"\nclickhouse_password_file = "secret"\n')
    assert in_toml.clickhouse_login_url == "http://me:hush@localhost:8123"


def test_a_secret_given_twice_or_in_a_missing_file_is_refused() -> None:
    assert "keep one" in refused({"FINNHUB_API_TOKEN": "x", "FINNHUB_API_TOKEN_FILE": "y"})
    assert "FINNHUB_API_TOKEN_FILE" in refused({"FINNHUB_API_TOKEN_FILE": "/nowhere/at/all"})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("STOCKSTREAM_PARTITION", "STOCKSTREAM_PARTITIONS"),
        ("STOCKSTREAM_CLICKHOUSE_PASWORD", "STOCKSTREAM_CLICKHOUSE_PASSWORD"),
        ("STOCKSTREAM_WEBPORT", "STOCKSTREAM_WEB_PORT"),
    ],
)
def test_an_unknown_variable_names_the_nearest(name: str, nearest: str) -> None:
    text = refused({name: "hidden"})
    assert text == f"{name} is no setting: the nearest is {nearest}"


def test_an_unknown_key_names_the_nearest() -> None:
    assert "topic_prefx is no setting: the nearest is topic_prefix" in refused(toml='topic_prefx = "x"')
    assert "is no setting" in refused(toml="[kafka]\nx = 1")


def test_kubernetes_links_and_test_switches_are_ignored() -> None:
    names = ["STOCKSTREAM_PORT", "STOCKSTREAM_PORT_6066_TCP_ADDR", "STOCKSTREAM_SERVICE_HOST", "STOCKSTREAM_TEST_X"]
    assert load(dict.fromkeys(names, "tcp://10.0.0.1:6066")) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("STOCKSTREAM_PARTITIONS", "many", "valid integer"),
        ("STOCKSTREAM_PARTITIONS", "0", "greater than or equal to 1"),
        ("STOCKSTREAM_EPOCH", "128", "less than or equal to 127"),
        ("STOCKSTREAM_TICK_SCHEMA", "3", "1 or 2"),
        ("STOCKSTREAM_SINK_ENABLED", "perhaps", "valid boolean"),
        ("STOCKSTREAM_PRODUCER_COMPRESSION", "brotli", "'none', 'gzip', 'lz4', 'zstd' or 'snappy'"),
        ("STOCKSTREAM_PRODUCER_LINGER_MS", "-1", "greater than or equal to 0"),
        ("STOCKSTREAM_PRODUCER_LINGER_MS", "60000", "less than or equal to 10000"),
        ("STOCKSTREAM_PRODUCER_BATCH_BYTES", "16", "greater than or equal to 1024"),
        ("STOCKSTREAM_PRODUCER_BATCH_BYTES", "2000000", "less than or equal to 1000000"),
        ("STOCKSTREAM_PRODUCER_ACKS", "2", "'all', '1' or '0'"),
        ("STOCKSTREAM_LOG_EVERY_TICKS", "-1", "greater than or equal to 0"),
        ("STOCKSTREAM_PRODUCER_BUFFER_TICKS", "0", "greater than or equal to 1"),
        ("STOCKSTREAM_REPORT_INTERVAL_S", "0", "greater than 0"),
        ("STOCKSTREAM_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("STOCKSTREAM_FEED_DELAY_S", "VSE", "exchange=seconds"),
        ("STOCKSTREAM_FEED_DELAY_S", "VSE=soon", "valid integer"),
        ("STOCKSTREAM_CLOSE_DELAY_S", "nan", "finite"),
        ("STOCKSTREAM_TICK_TOPICS", "a b", "pattern"),
        ("KAFKA_BOOTSTRAP_SERVERS", "broker", "host:port"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS", "'SASL_SSL'"),
        ("SCHEMA_REGISTRY_URL", "localhost:8081", "http://"),
        ("SCHEMA_REGISTRY_URL", "http://host:99999", "Port out of range"),
        ("CLICKHOUSE_URL", "chdb://", "chdb://"),
        ("STOCKSTREAM_READS_OPEN", "perhaps", "'auto', 'true' or 'false'"),
        ("STOCKSTREAM_WEB_TRUSTED_PROXIES", "proxy.inside", "10.0.0.0/8"),
        ("STOCKSTREAM_WEB_MAX_URL_BYTES", "9000", "less than or equal to 8000"),
        ("STOCKSTREAM_WEB_MAX_STREAMS", "0", "greater than or equal to 1"),
        ("STOCKSTREAM_WEB_CHANGES_PER_MINUTE", "-1", "greater than or equal to 1"),
        ("SYMBOLS", "AAPL,VN 30", "'VN 30' is no symbol"),
    ],
)
def test_a_malformed_value_names_variable_value_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    text = refused({name: value})
    assert text.startswith(f"{name} in the environment is {value!r}: ")
    assert allowed in text


def test_a_malformed_value_in_the_file_names_the_file() -> None:
    text = refused(toml="replication = 0")
    assert text.startswith("replication in ")
    assert "stockstream.toml is 0: must be greater" in text


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("heartbeat_interval_s = 4", "a third of session_timeout_s=10"),
        ("sink_max_rows = 5", "sink_max_rows"),
        ("retention_s = 900", "retention_s"),
        ("retention_s = 1000\nfeed_delay_s = {VSE = 900}", "1800"),
        ('tick_topics = ["latest"]', "latest"),
        ('kafka_security_protocol = "SASL_SSL"', "kafka_sasl_mechanism"),
        ('kafka_sasl_username = "me"', "PLAINTEXT"),
        ('clickhouse_password = "x"', "clickhouse_user"),
        ('clickhouse_user = "x"\nclickhouse_url = "http://y:z@host"', "keep one"),
        ('schema_registry_password = "x"', "schema_registry_username"),
        ('schema_registry_username = "x"\nschema_registry_url = "http://y:z@host"', "keep one"),
        ('schema_registry_ca_file = "ca.pem"', "https://"),
        ('clickhouse_ca_file = "ca.pem"\nclickhouse_url = "chdb:///data"', "https://"),
        ('kafka_ssl_ca_file = "ca.pem"', "SASL_SSL"),
        ('kafka_ssl_cert_file = "me.pem"\nkafka_security_protocol = "PLAINTEXT"', "does not use it"),
        ('kafka_ssl_key_file = "me.key"\nkafka_security_protocol = "SSL"', "without kafka_ssl_cert_file"),
        ('kafka_ssl_key_password = "x"', "without kafka_ssl_cert_file"),
        ('finnhub_url = "wss://ws.finnhub.io?token=hush"', "FINNHUB_API_TOKEN"),
        ('api_key = " "', "api_key is empty"),
        (f'api_key = "ci read sha256:{"0a" * 32}"', "name that file in api_keys_file"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(toml: str, said: str) -> None:
    assert said in refused(toml=toml)


SECRETS = {
    "CLICKHOUSE_URL": "http://me:hu%2fsh@db.test:8123",
    "FINNHUB_API_TOKEN": "hu/sh",
    "SSI_CONSUMER_ID": "hu/sh",
    "SSI_CONSUMER_SECRET": "hu/sh",
    "KAFKA_SECURITY_PROTOCOL": "SSL",
    "KAFKA_SSL_CERT_FILE": "me.pem",
    "KAFKA_SSL_KEY_PASSWORD": "hu/sh",
    "SCHEMA_REGISTRY_URL": "http://me:hu%2fsh@registry.test",
}


def test_secrets_are_never_shown() -> None:
    settings = load(SECRETS)
    for text in (json.dumps(settings.masked()), repr(settings), str(settings)):
        assert "hu/sh" not in text
        assert "hu%2fsh" not in text
    assert "db.test" in json.dumps(settings.masked())


@pytest.mark.parametrize(
    ("reads_open", "host", "are_open"),
    [
        ("auto", "127.0.0.1", True),
        ("auto", "127.8.8.8", True),
        ("auto", "::1", True),
        ("auto", "LocalHost", True),
        ("auto", "0.0.0.0", False),  # noqa: S104
        ("auto", "::", False),
        ("auto", "192.168.1.7", False),
        ("auto", "worker-1.inside", False),
        ("True", "0.0.0.0", True),  # noqa: S104
        ("false", "127.0.0.1", False),
    ],
)
def test_reads_are_open_on_loopback_or_by_choice(reads_open: str, host: str, are_open: bool) -> None:
    settings = load({"STOCKSTREAM_READS_OPEN": reads_open, "STOCKSTREAM_WEB_HOST": host})
    assert settings.reads_are_open is are_open


def test_reads_open_may_be_a_word_of_toml() -> None:
    assert load(toml="reads_open = false").reads_are_open is False


@pytest.mark.parametrize("name", ["FINNHUB_API_TOKEN", "SSI_CONSUMER_ID", "SSI_CONSUMER_SECRET"])
def test_credentials_of_sources_may_be_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hu/sh\n")
    settings = load({f"{name}_FILE": str(tmp_path / "key")})
    assert getattr(settings, name.lower()).get_secret_value() == "hu/sh"
    assert "hu/sh" not in json.dumps(settings.masked())


def test_an_address_with_a_token_in_it_is_not_shown() -> None:
    assert "hush" not in refused({"STOCKSTREAM_FINNHUB_URL": "wss://ws.finnhub.io?token=hush"})


@pytest.mark.parametrize("url", ["ftp://me:hush@host", "http://me:hush@host:99999"])
def test_a_malformed_url_does_not_show_its_password(url: str) -> None:
    assert "hush" not in refused({"CLICKHOUSE_URL": url})


def test_each_value_tells_where_it_comes_from() -> None:
    shown: Any = load({"STOCKSTREAM_EPOCH": "1"}, "partitions = 4").masked()
    assert shown["epoch"] == {
        "value": 1,
        "source": "STOCKSTREAM_EPOCH in the environment",
        "variable": "STOCKSTREAM_EPOCH",
    }
    assert "stockstream.toml" in shown["partitions"]["source"]
    assert shown["replication"]["source"] == "default"
    assert set(shown) == set(Settings.model_fields)


def test_topics_take_the_prefix() -> None:
    assert load({"STOCKSTREAM_TOPIC_PREFIX": "eu."}).topic("candles") == "eu.candles"
    assert Settings().topic("candles") == "candles"
