from __future__ import annotations

from pathlib import Path

import pytest

from stockstream.testing.jars import ENVIRONMENT, kafka_libs, prepared, quick_start, registry_home


def test_missing_servers_name_the_command_that_fetches_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="make servers"):
        kafka_libs()
    with pytest.raises(FileNotFoundError, match="make servers"):
        registry_home()


def test_the_environment_says_where_servers_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    for file in ("kafka/kafka_2.13-4.3.1.jar", "registry/quarkus-run.jar"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    assert kafka_libs() == tmp_path / "kafka"
    assert registry_home() == tmp_path / "registry"


def test_a_server_starts_with_what_was_prepared_and_without_it(tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    assert quick_start(folder) == []
    prepared(folder).touch()
    assert f"-XX:AOTCache={tmp_path / 'kafka.aot'}" in quick_start(folder)
