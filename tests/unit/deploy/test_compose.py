"""The Compose file: what would fail only at `docker compose up`, or later."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stockstream.cli.main import COMMANDS
from stockstream.settings import Settings
from stockstream.settings.sources import is_secret, variable
from stockstream.sources.catalog import source_of

PROFILES = ["small", "full"]
TOGETHER = [*PROFILES, *(f"{profile}+producers" for profile in PROFILES)]
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|API_KEY")


def ours(compose: dict[str, Any]) -> dict[str, Any]:
    return {name: s for name, s in compose["services"].items() if s["image"].startswith("stockstream:")}


def active(compose: dict[str, Any], profile: str) -> dict[str, Any]:
    """The services of one profile or of several, written as ``small+producers``."""
    return {name: s for name, s in compose["services"].items() if set(profile.split("+")) & set(s["profiles"])}


def brokers(services: dict[str, Any]) -> dict[str, Any]:
    return {name: s for name, s in services.items() if s["image"].startswith("apache/kafka:")}


def host_ports(service: dict[str, Any]) -> Iterator[int]:
    for published in service.get("ports", []):
        first, _, last = published.split(":")[1].partition("-")
        yield from range(int(first), int(last or first) + 1)


def test_every_service_is_in_a_profile_pinned_limited_and_restarted(compose: dict[str, Any]) -> None:
    assert len(compose["services"]) >= 8
    for name, service in compose["services"].items():
        assert service["profiles"], name
        assert re.fullmatch(r"[a-z/-]+:\d+(\.\d+)+", service["image"]), name
        assert service["restart"] == "unless-stopped", name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name


def test_images_are_the_versions_that_tests_run_on(
    compose: dict[str, Any], project: dict[str, Any], root: Path
) -> None:
    pom = ElementTree.parse(root / "tools/servers/pom.xml").getroot()  # noqa: S314 - our own
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    found = {e.tag.rpartition("}")[2]: e.text for e in pom.findall("m:properties/*", space)}
    tags = {name: service["image"].rpartition(":")[2] for name, service in compose["services"].items()}
    assert tags["kafka"] in found.values()
    assert tags["registry"] in found.values()
    assert {tags[name] for name in ours(compose)} == {project["version"]}


@pytest.mark.parametrize("profile", TOGETHER)
def test_dependencies_are_there_and_can_be_met(compose: dict[str, Any], profile: str) -> None:
    services = active(compose, profile)
    for name, service in services.items():
        for other, terms in service.get("depends_on", {}).items():
            assert other in compose["services"], (name, other)
            assert terms["condition"] in CONDITIONS, (name, other)
            if other not in services:
                assert terms["required"] is False, (name, other)
            if terms["condition"] == "service_healthy":
                assert compose["services"][other]["healthcheck"]["test"], (name, other)


@pytest.mark.parametrize("profile", TOGETHER)
def test_ports_are_published_once_and_on_loopback_only(compose: dict[str, Any], profile: str) -> None:
    ports = [port for service in active(compose, profile).values() for port in host_ports(service)]
    assert len(ports) == len(set(ports))
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_both_profiles_at_once_fail_at_a_port(compose: dict[str, Any]) -> None:
    small, full = ({port for s in brokers(active(compose, p)).values() for port in host_ports(s)} for p in PROFILES)
    assert small & full


@pytest.mark.parametrize(("profile", "count"), [("small", 1), ("full", 3)])
def test_brokers_form_one_cluster(compose: dict[str, Any], profile: str, count: int) -> None:
    found = brokers(active(compose, profile))
    assert len(found) == count
    voters = ",".join(f"{s['environment']['KAFKA_NODE_ID']}@{name}:9093" for name, s in found.items())
    for name, service in found.items():
        environment = service["environment"]
        assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == voters
        assert int(environment.get("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", 3)) == count
        assert int(environment.get("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", 2)) == min(count, 2)
        (port,) = host_ports(service)
        advertised = environment["KAFKA_ADVERTISED_LISTENERS"]
        assert advertised == f"INTERNAL://{name}:9092,HOST://localhost:{port}"
        assert name == "kafka" or "kafka" in service["networks"]["default"]["aliases"]


def test_volumes_are_declared_and_no_two_services_share_one(compose: dict[str, Any], root: Path) -> None:
    named = []
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source, separator, _ = volume.partition(":")
            if source.startswith("."):
                assert (root / source).exists(), source
                assert volume.endswith(":ro"), volume
            elif separator:
                named.append(source)
    assert sorted(named) == sorted(compose["volumes"])


def test_each_worker_has_a_data_directory_of_its_own(
    compose: dict[str, Any], image_environment: dict[str, str]
) -> None:
    worker = compose["services"]["worker"]
    assert worker["volumes"] == [image_environment["STOCKSTREAM_DATA_DIR"]]
    assert "STOCKSTREAM_INSTANCE_ID" not in worker["environment"]  # replicas would put each other out of the group
    assert "STOCKSTREAM_DATA_DIR" not in worker["environment"]


def test_settings_know_every_variable(
    compose: dict[str, Any], image_environment: dict[str, str], tmp_path: Path
) -> None:
    for name in compose["secrets"]:
        (tmp_path / name).write_text(f"of {name}\n")
    fields = Settings.model_fields
    known = {variable(name) for name in fields}
    known |= {f"{variable(name)}_FILE" for name, field in fields.items() if is_secret(field)}
    for name, service in ours(compose).items():
        given = {key: value.replace("/run/secrets", str(tmp_path)) for key, value in service["environment"].items()}
        assert set(given) <= known, name
        image = {key: value for key, value in image_environment.items() if key.startswith("STOCKSTREAM_")}
        settings = Settings.load({**image, **given}, tmp_path)
        assert settings.web_host == "0.0.0.0"  # noqa: S104 - in a container, published on loopback
        assert settings.kafka_bootstrap_servers == "kafka:9092"
    for name, service in compose["services"].items():
        if name not in ours(compose):
            assert not [key for key in service.get("environment", {}) if key.startswith("STOCKSTREAM_")], name


def test_the_worker_logs_in_to_clickhouse(compose: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "clickhouse_writer_password").write_text("p@ss\n")
    environment = compose["services"]["worker"]["environment"]
    given = {key: value.replace("/run/secrets", str(tmp_path)) for key, value in environment.items()}
    assert Settings.load(given, tmp_path).clickhouse_login_url == "http://stockstream:p%40ss@clickhouse:8123"


def test_who_reaches_the_published_port_may_read_by_choice(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    assert worker["environment"]["STOCKSTREAM_READS_OPEN"] == "true"
    assert all(port.startswith("127.0.0.1:") for port in worker["ports"])
    assert Settings(web_host="0.0.0.0").reads_are_open is False  # noqa: S104 - what the image alone would do


def test_urls_name_services_and_their_ports(compose: dict[str, Any]) -> None:
    container_ports = {"registry": "8080", "clickhouse": "8123"}
    for name, service in ours(compose).items():
        for key, value in service["environment"].items():
            if key.endswith("_URL"):
                host, port = re.fullmatch(r"http://([a-z-]+):(\d+)(/.*)?", value).group(1, 2)
                assert container_ports[host] == port, (name, key)
                published = compose["services"][host]["ports"]
                assert any(each.endswith(f":{port}") for each in published), (name, key)


def test_commands_exist_and_take_their_symbols(compose: dict[str, Any]) -> None:
    commands = {name: service["command"] for name, service in ours(compose).items() if "command" in service}
    assert commands
    for name, (program, command, source, option, symbols) in commands.items():
        assert (program, option, name) == ("stockstream", "--symbols", f"producer-{source}")
        assert command in COMMANDS
        assert {source_of(symbol).name for symbol in symbols.split(",")} == {source}


def test_secrets_are_files_declared_and_given_to_those_that_read_them(compose: dict[str, Any]) -> None:
    given = set()
    for name, service in compose["services"].items():
        has = set(service.get("secrets", []))
        given |= has
        assert has <= set(compose["secrets"]), name
        for key, value in service.get("environment", {}).items():
            assert "@" not in value or "://" not in value, (name, key)
            if SECRET.search(key):
                assert key.endswith("_FILE"), (name, key)
                assert value.removeprefix("/run/secrets/") in has, (name, key)
    assert given == set(compose["secrets"])
    assert all(secret == {"file": f"deploy/secrets/{name}"} for name, secret in compose["secrets"].items())
