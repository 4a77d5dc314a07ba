"""Every secret that a setting can hold, marked, and looked for wherever something is shown."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from stockstream.cli.main import main
from stockstream.errors import SettingsError, StockstreamError
from stockstream.settings import Settings, variable
from stockstream.settings.sources import is_secret
from stockstream.testing.certificates import Authority
from stockstream.web.guard import OPEN_PATHS
from stockstream.web.keys import make_key
from stockstream.worker import Runtime

MARK = "mArKeD"
SECRETS = [name for name, field in Settings.model_fields.items() if is_secret(field)]
URLS = [name for name in Settings.model_fields if name.endswith("_url") and name != "sim_url"]


def test_what_is_a_secret_says_so() -> None:
    named = {name for name in Settings.model_fields if any(each in name for each in ("password", "secret", "token"))}
    assert named | {"api_key", "ssi_consumer_id"} == set(SECRETS)


def marked_secrets() -> dict[str, str]:
    return {variable(name): f"{MARK}-{name}" for name in SECRETS}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A worker's environment with all secrets at once, and what they need beside them."""
    made, locked = Authority(tmp_path).issue("client"), tmp_path / "locked.key"
    password = f"pass:{MARK}-kafka_ssl_key_password"
    command = [shutil.which("openssl") or "openssl", "pkey", "-aes256", "-passout", password]
    subprocess.run([*command, "-in", made.key, "-out", locked], check=True)
    return {
        **marked_secrets(),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "SCHEMA_REGISTRY_URL": "http://127.0.0.1:1",
        "CLICKHOUSE_URL": "http://127.0.0.1:1",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "app",
        "KAFKA_SSL_CERT_FILE": str(made.certificate),
        "KAFKA_SSL_KEY_FILE": str(locked),
        "STOCKSTREAM_SCHEMA_REGISTRY_USERNAME": "app",
        "STOCKSTREAM_CLICKHOUSE_USER": "app",
        "STOCKSTREAM_DATA_DIR": str(tmp_path / "data"),
        "STOCKSTREAM_REPLICATION": "1",
        "SYMBOLS": "FINNHUB:AAPL,SSI:VCB",
    }


def shown(value: object, depth: int, seen: set[int] | None = None) -> Iterator[str]:
    """The reprs of an object of ours, of those that it holds, and so on."""
    seen = set() if seen is None else seen
    if id(value) in seen or depth == 0:
        return
    seen.add(id(value))
    held: list[object] = []
    if isinstance(value, dict):
        held = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        held = list(value)
    elif type(value).__module__.startswith("stockstream"):
        yield f"{type(value).__name__}: {value!r} {value!s}"
        names = (*getattr(value, "__dict__", ()), *getattr(value, "__slots__", ()))
        held = [getattr(value, name) for name in names if hasattr(value, name)]
    for each in held:
        yield from shown(each, depth - 1, seen)


def test_settings_show_none_however_they_are_printed(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(environ, tmp_path)
    texts = [
        repr(settings),
        str(settings),
        f"{settings}",
        json.dumps(settings.masked(), default=str),
        str(settings.model_dump()),
        settings.model_dump_json(exclude={"api_keys_file"}),
    ]
    for arguments in (["settings"], ["settings", "--json"], ["--debug", "settings"]):
        result = CliRunner().invoke(main, arguments, env=environ)
        assert result.exit_code == 0, result.output
        texts.append(result.output)
    for text in texts:
        assert MARK not in text
    assert repr(settings).count("***") >= len(SECRETS)


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "url", ["{}://me:%s@host.test/", "{}://host.test/?token=%s&x=1", "{}://host.test/?x=1&Api-Key=%s"]
)
def test_addresses_show_no_login_and_no_token(name: str, url: str, tmp_path: Path) -> None:
    scheme = "wss" if name in ("yahoo_url", "binance_url", "finnhub_url") else "https"
    given = {variable(name): url.format(scheme) % MARK}
    said = f"{load_or_told(given, tmp_path)!r}"
    assert MARK not in said
    assert "host.test" in said or "FINNHUB_API_TOKEN" in said


def load_or_told(environ: dict[str, str], folder: Path) -> tuple[Settings, object] | str:
    """The settings with what is shown of them, or the error."""
    try:
        settings = Settings.load(environ, folder)
    except SettingsError as error:
        return str(error)
    return settings, settings.masked()


@pytest.mark.parametrize("name", SECRETS)
def test_no_error_shows_one(name: str, tmp_path: Path) -> None:
    """Alone most of them contradict the others, as a number in TOML they are malformed."""
    for environ, toml in (
        ({variable(name): MARK, "STOCKSTREAM_PARTITIONS": "many"}, ""),
        ({variable(name): MARK, "STOCKSTREAM_SESSION_TIMEOUT_S": "1"}, ""),
        ({}, f'{name} = ["{MARK}"]'),
        ({}, f'{name} = {{a = "{MARK}"}}'),
    ):
        (tmp_path / "stockstream.toml").write_text(toml)
        with pytest.raises(SettingsError) as told:
            Settings.load(environ, tmp_path)
        causes = [told.value.__cause__, told.value.__context__ if not told.value.__suppress_context__ else None]
        assert causes == [None, None]
        assert MARK not in str(told.value)


async def test_a_worker_shows_none(
    environ: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    secret, key = make_key("reader", ["read"])
    (tmp_path / "keys").write_text(key.line)
    monkeypatch.setenv("STOCKSTREAM_CONFIG", "/dev/null")
    settings = Settings.load({**environ, "STOCKSTREAM_API_KEYS_FILE": str(tmp_path / "keys")}, tmp_path)
    runtime = Runtime(settings)
    runtime.app.web.init_server()
    texts = list(shown(runtime, depth=6))
    assert {"ApiKeys", "Connection", "Settings", "Registry", "ClickHouseSink", "Guard"} <= {
        text.partition(":")[0] for text in texts
    }
    texts += [str(vars(runtime.app.conf))]
    async with TestClient[web.Request, web.Application](TestServer(runtime.app.web.web_app)) as client:
        for path in (*OPEN_PATHS, "/metrics", "/subscriptions", "/latest", "/gaps", "/tables/latest/A"):
            for headers in ({}, {"X-API-Key": secret}, {"X-API-Key": f"{MARK}-guess"}):
                answer = await client.get(path.replace("{path}", "app.js"), headers=headers)
                texts.append(f"{answer.headers}{await answer.text()}")
        for headers in ({}, {"X-API-Key": f"{MARK}-guess"}):
            answer = await client.put("/subscriptions/A", headers=headers)
            texts.append(f"{answer.headers}{await answer.text()}")
    for step in (runtime.registry.ping, runtime.sink.start if runtime.sink else runtime.registry.ping):
        with pytest.raises(StockstreamError) as told:
            await step()
        texts.append(str(told.value))
    await runtime.close()
    for text in (*texts, caplog.text):
        assert MARK not in text, text[: text.index(MARK) + 50][-300:]
        assert secret not in text
        assert key.digest.hex() not in text
        assert str(key.digest) not in text
