"""A real broker that asks for TLS and a login or a certificate: everything works with it, and what is wrong is told."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from stockstream.adapters import policy_of
from stockstream.core.interval import INTERVALS_MS
from stockstream.core.offline import OfflineEngine
from stockstream.models import Candle
from stockstream.settings import Settings
from stockstream.testing.certificates import Authority
from stockstream.testing.clickhouse import ClickHouseFacade
from stockstream.testing.fork_server import ForkedProcess, ForkServer
from stockstream.testing.jars import kafka_libs
from stockstream.testing.process import ServerProcess, free_ports
from stockstream.testing.registry import RegistryServer
from stockstream.testing.secured import PASSWORD, USER, SecuredKafka
from stockstream.testing.system import System, WorkerProcess
from stockstream.testing.topics import admin_client
from stockstream.testing.wait import wait_until

SYMBOLS = ("SIM:AAPL", "SIM:BTC", "SIM:VCB")
ENOUGH = 600
WRONG = "sesame-0000"
MINE = re.compile("STOCKSTREAM_|KAFKA_")
PRODUCE = ("produce", "sim", "--symbols", ",".join(SYMBOLS), "--ticks-per-s", "100", "--seed", "3")


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredKafka]:
    with SecuredKafka(kafka_libs()) as broker:
        yield broker


@pytest.fixture
def system(
    secured: SecuredKafka, registry: RegistryServer, clickhouse: ClickHouseFacade, fork_server: ForkServer
) -> Iterator[System]:
    """The tests' own clients take the plain way in; whatever is given ``environment`` has to take another."""
    settings = {"tick_topics": "sim", "ingest_enabled": "false", "partitions": "2", "close_delay_s": "0"}
    with System(secured.bootstrap, registry.url, clickhouse.url, **settings) as made:
        made.environment |= secured.login
        yield made


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and all that it printed."""

    code: int | None
    out: str
    errors: str


@dataclass(frozen=True, slots=True)
class Command:
    """A ``stockstream`` command that runs, and where it prints."""

    process: ForkedProcess
    out: Path
    errors: Path


def command(system: System, *arguments: str) -> Command:
    folder = Path(tempfile.mkdtemp(dir=system.root))
    environment = {name: value for name, value in os.environ.items() if not MINE.match(name)} | system.environment
    assert WorkerProcess.fork_server is not None
    with (folder / "out").open("wb") as out, (folder / "errors").open("wb") as errors:
        process = WorkerProcess.fork_server.start("stockstream", arguments, environment, out, errors)
    return Command(process, folder / "out", folder / "errors")


def done(running: Command) -> Done:
    try:
        code = running.process.wait(60)
    finally:
        running.process.kill()
    out, errors = running.out.read_text(), running.errors.read_text()
    assert PASSWORD not in out + errors
    assert WRONG not in out + errors
    return Done(code, out, errors)


def said(process: ServerProcess) -> list[str]:
    """What a worker printed, without Faust's banner and without times and levels."""
    text = process.log.read_text()
    assert PASSWORD not in text
    assert WRONG not in text
    lines = [line for line in text.splitlines() if not line.startswith(("+", "|"))]
    return [re.sub(r"^\[[^]]*\] \[\d+\] \[\w+\] ", "", line).strip() for line in lines]


def says(worker: WorkerProcess, text: str) -> None:
    wait_until(lambda: any(text in line for line in said(worker)), 60, f"{worker.name} to say {text!r}")


def ticks_written(system: System) -> int:
    topic = system.topic("sim")
    return sum(system.topics.end_offsets(topic).values()) if topic in system.topics.names() else 0


def produce(system: System, count: int) -> None:
    """Have ``stockstream produce`` write so many ticks, and end it in good order."""
    before, producer = ticks_written(system), command(system, *PRODUCE)

    def is_enough() -> bool:
        assert producer.process.poll() is None, done(producer)
        return ticks_written(system) >= before + count

    try:
        wait_until(is_enough, 60, "ticks in the topic")
        producer.process.send_signal(signal.SIGTERM)
        ended = done(producer)
    finally:
        producer.process.kill()
    assert ended.code == 128 + signal.SIGTERM, ended
    assert "Traceback" not in ended.errors


def values(candle: Candle) -> tuple[object, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades


def assert_candles_are_the_offline_engines(system: System) -> None:
    published = system.candles_topic()
    for interval in INTERVALS_MS:
        expected: dict[tuple[str, str, str, int], Candle] = {}
        for log in system.tick_log("sim").values():
            engine = OfflineEngine(policy_of(Settings()))
            engine.add([tick for _, tick in log])
            expected |= {candle.key: candle for candle, _ in engine.candles(interval)}
        assert {key[0] for key in expected} == set(SYMBOLS)
        assert {key for key in published if key[1] == interval} == expected.keys()
        for candle in expected.values():
            made = published[candle.key]
            assert (*values(made), made.vwap, made.gap) == (*values(candle), candle.vwap, candle.gap)
        stored = {key: row[:6] for key, row in system.sql_candles(interval).items()}
        assert stored == {key: values(candle) for key, candle in expected.items()}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", ["login", "mutual"])
def test_all_of_a_system_works(system: System, secured: SecuredKafka, way: str) -> None:
    system.environment = {
        name: value for name, value in system.environment.items() if not name.startswith("KAFKA_")
    } | dict(secured.login if way == "login" else secured.mutual)
    produce(system, ENOUGH)
    worker = system.start()
    produce(system, ENOUGH)
    system.wait_drained(60)
    assert_candles_are_the_offline_engines(system)
    newest = system.latest_topic()["SIM:AAPL"]
    wait_until(lambda: worker.get("/latest/SIM:AAPL")[1]["price"] == newest.price, 30, "the live view to have it")
    found = done(command(system, "doctor"))
    assert (found.code, found.out.count("WRONG")) == (0, 0), found
    assert f"{system.environment['KAFKA_BOOTSTRAP_SERVERS']}, 3 of 3 topics" in found.out
    worker.stop()
    assert worker.exit_code == 0
    assert not [line for line in said(worker) if "Traceback" in line]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_the_password_is_in_no_debug_output(system: System, tmp_path: Path, mechanism: str) -> None:
    system.environment["KAFKA_SASL_MECHANISM"] = mechanism
    trades = tmp_path / "trades.csv"
    trades.write_text("event_ms,trade_id,price,size\n1700000000000,1,1.5,1\n")
    for arguments, told in (
        (["--debug", "replay", str(trades), "--speed", "max"], "Attempting to bootstrap via node"),
        (["--debug", "doctor"], ""),
        (["settings"], ""),
    ):
        found = done(command(system, *arguments))  # which looks for it
        assert found.code == 0, found
        assert told in found.errors  # what the clients do is told


Change = Callable[[SecuredKafka, Path], Mapping[str, str]]


def another_authority(_: SecuredKafka, folder: Path) -> Mapping[str, str]:
    return {"KAFKA_SSL_CA_FILE": str(Authority(folder, "another").certificate)}


def without_certificate(secured: SecuredKafka, _: Path) -> Mapping[str, str]:
    return (
        dict.fromkeys(secured.login, "") | dict(secured.mutual) | {"KAFKA_SSL_CERT_FILE": "", "KAFKA_SSL_KEY_FILE": ""}
    )


WRONGS: dict[str, tuple[Change, list[str]]] = {
    "password": (
        lambda *_: {"KAFKA_SASL_PASSWORD": WRONG},
        [f"refuses user {USER} or the password", "set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"],
    ),
    "user": (
        lambda *_: {"KAFKA_SASL_USERNAME": "nobody"},
        ["refuses user nobody or the password", "set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"],
    ),
    "mechanism": (
        lambda *_: {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"},
        ["does not know SCRAM-SHA-256", "set KAFKA_SASL_MECHANISM"],
    ),
    "missing CA file": (
        lambda *_: {"KAFKA_SSL_CA_FILE": "/nowhere.pem"},
        ["KAFKA_SSL_CA_FILE is /nowhere.pem, which is no use", "No such file"],
    ),
    "other CA": (another_authority, ["shows a certificate that is not trusted", "set KAFKA_SSL_CA_FILE"]),
    "no CA": (
        lambda *_: {"KAFKA_SSL_CA_FILE": ""},
        ["shows a certificate that is not trusted", "set KAFKA_SSL_CA_FILE"],
    ),
    "other name": (
        lambda secured, _: {"KAFKA_BOOTSTRAP_SERVERS": f"localhost:{secured.login_port}"},
        ["shows a certificate of another name", "localhost", "set KAFKA_BOOTSTRAP_SERVERS"],
    ),
    "plain client": (
        lambda secured, _: dict.fromkeys(secured.login, "")
        | {"KAFKA_BOOTSTRAP_SERVERS": secured.login["KAFKA_BOOTSTRAP_SERVERS"]},
        ["speaks TLS only", "set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"],
    ),
    "no login wanted": (
        lambda secured, _: {
            "KAFKA_BOOTSTRAP_SERVERS": secured.bootstrap, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SSL_CA_FILE": "",
        },
        ["takes no logins", "set KAFKA_SECURITY_PROTOCOL"],
    ),
    "no certificate": (
        without_certificate,
        ["takes no client without a certificate", "set KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE"],
    ),
}  # fmt: skip
"""What is set wrongly, and what the one line about it has to say."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", WRONGS)
def test_what_is_set_wrongly_is_told_in_one_line(
    system: System, secured: SecuredKafka, tmp_path: Path, what: str
) -> None:
    change, told = WRONGS[what]
    system.environment |= change(secured, tmp_path)
    worker = system.start(wait=False, start_timeout_s="100")  # and it does not wait for that long
    doctor, debugged, producer = (
        command(system, *each) for each in (["doctor"], ["--debug", "produce", *PRODUCE[1:]], PRODUCE)
    )
    found = done(doctor)
    (line,) = (line for line in found.out.splitlines() if "WRONG" in line)
    assert line.startswith("Kafka ")
    assert all(part in line for part in told), line
    assert (found.code, found.errors) == (1, "stockstream: 1 of 5 checks failed\n")

    made = done(producer)
    assert made.code == 2, made
    (line,) = made.errors.splitlines()
    assert line.startswith("stockstream: ")
    assert all(part in line for part in told), line
    assert done(debugged).code == 2

    wait_until(lambda: worker.exit_code is not None, 60, "the worker to end")
    assert worker.exit_code == 2
    (line,) = said(worker)
    assert line.startswith("stockstream: ")
    assert all(part in line for part in told), line


@pytest.mark.parametrize("way", ["SSL to a port for logins", "TLS to a plain port"])
def test_a_connection_that_is_closed_without_a_word_names_the_setting(
    system: System, secured: SecuredKafka, way: str
) -> None:
    if way == "TLS to a plain port":
        system.environment["KAFKA_BOOTSTRAP_SERVERS"] = secured.bootstrap
    else:
        system.environment["KAFKA_SECURITY_PROTOCOL"] = "SSL"
        for name in ("USERNAME", "PASSWORD", "MECHANISM"):
            system.environment[f"KAFKA_SASL_{name}"] = ""
    protocol = system.environment["KAFKA_SECURITY_PROTOCOL"]
    made = done(command(system, *PRODUCE))
    assert made.code == 1  # a broker that is just ending does the same, so a worker waits
    (line,) = made.errors.splitlines()
    assert f"perhaps it does not expect KAFKA_SECURITY_PROTOCOL={protocol}" in line


@pytest.mark.timeout(240)
def test_a_broker_that_is_away_is_waited_for(system: System, secured: SecuredKafka) -> None:
    (nobody,) = free_ports(1)
    there = system.environment["KAFKA_BOOTSTRAP_SERVERS"]
    secured.kill(0)
    try:
        worker = system.start(wait=False, start_timeout_s="100")
        says(worker, f"no Kafka broker answers at {there}")
        assert worker.exit_code is None
    finally:
        secured.start(0)
    worker.wait_ready()
    produce(system, ENOUGH)
    system.wait_drained(60)
    secured.kill(0)
    secured.start(0)  # all connections are made anew
    produce(system, ENOUGH)
    system.wait_drained(90)
    assert_candles_are_the_offline_engines(system)
    system.environment["KAFKA_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{nobody}"
    made = done(command(system, *PRODUCE))
    assert (made.code, len(made.errors.splitlines())) == (1, 1)
    assert "no Kafka broker answers" in made.errors


def set_password(secured: SecuredKafka, password: str) -> None:
    """Change the user's, which the broker asks for at the next connection."""
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(USER, credential, password.encode())
    admin = admin_client(secured.bootstrap)  # held: without it, the answer would never come
    for future in admin.alter_user_scram_credentials([change]).values():
        future.result(30)


@pytest.mark.timeout(240)
def test_a_running_worker_outlives_a_login_that_is_refused_for_a_while(system: System, secured: SecuredKafka) -> None:
    produce(system, ENOUGH)
    worker = system.start()
    system.wait_drained(60)
    set_password(secured, "another-4d21")
    try:
        secured.kill(0)
        secured.start(0)
        says(worker, "SaslAuthenticationFailed")
    finally:
        set_password(secured, PASSWORD)
    produce(system, ENOUGH)
    system.wait_drained(90)
    assert_candles_are_the_offline_engines(system)
    assert worker.exit_code is None
