"""ClickHouse's users and their passwords, as they reach the server."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from hashlib import sha256
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from stockstream.testing.clickhouse import ClickHouseFacade

HASHES = ["CLICKHOUSE_WRITER_SHA256", "CLICKHOUSE_READER_SHA256"]


@pytest.fixture(scope="module")
def users(root: Path) -> ElementTree.Element:
    return ElementTree.parse(root / "deploy/clickhouse/users.d/stockstream.xml").find("users")  # noqa: S314 - our own


def with_passwords(root: Path, secrets: Path) -> subprocess.CompletedProcess[str]:
    script = root / "deploy/clickhouse/with-passwords.sh"
    show = ["/bin/bash", "-c", f"echo ${HASHES[0]}; echo ${HASHES[1]}; exit 7"]
    return subprocess.run(
        [str(script), *show],
        env={"SECRETS_DIR": str(secrets), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_passwords_become_hashes_in_the_environment(root: Path, tmp_path: Path) -> None:
    (tmp_path / "clickhouse_writer_password").write_text("p$ 'ä\n")
    (tmp_path / "clickhouse_reader_password").write_text("other")
    run = with_passwords(root, tmp_path)
    assert run.returncode == 7, run.stderr
    assert run.stdout.split() == [sha256("p$ 'ä".encode()).hexdigest(), sha256(b"other").hexdigest()]


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_without_a_password_the_server_does_not_start(root: Path, tmp_path: Path, content: str | None) -> None:
    (tmp_path / "clickhouse_writer_password").write_text("w")
    if content is not None:
        (tmp_path / "clickhouse_reader_password").write_text(content)
    run = with_passwords(root, tmp_path)
    assert run.returncode == 1
    assert "the secret clickhouse_reader_password is empty" in run.stderr
    assert run.stdout == ""


def test_only_users_with_a_password_are_left(users: ElementTree.Element) -> None:
    assert users.find("default").get("remove") == "remove"
    others = [user for user in users if user.tag != "default"]
    assert [user.tag for user in others] == ["stockstream", "grafana"]
    assert [user.find("password_sha256_hex").get("from_env") for user in others] == HASHES


def test_the_worker_and_grafana_log_in_as_these_users(compose: dict[str, Any], users: ElementTree.Element) -> None:
    writer = compose["services"]["worker"]["environment"]["STOCKSTREAM_CLICKHOUSE_USER"]
    assert users.find(writer).findtext("profile") == "default"
    assert users.find("grafana").findtext("profile") == "grafana"
    for service in ("worker", "clickhouse"):
        assert "clickhouse_writer_password" in compose["services"][service]["secrets"]
    for service in ("grafana", "clickhouse"):
        assert "clickhouse_reader_password" in compose["services"][service]["secrets"]


def test_grants_are_sql_and_grafana_only_reads(users: ElementTree.Element, clickhouse: ClickHouseFacade) -> None:
    client = clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port)
    for user in ("stockstream", "grafana"):
        queries = [query.text for query in users.findall(f"{user}/grants/query")]
        assert queries
        for query in queries:  # the server adds the user's name
            ((formatted,),) = client.query("SELECT formatQuery({q:String})", {"q": f"{query} TO {user}"}).result_rows
            assert re.search(r"ON stockstream\.\*\s+TO ", formatted)
            assert user != "grafana" or set(formatted.split(" ON ")[0].split()[1:]) <= {"SHOW,", "SELECT", "SHOW"}


def test_each_secret_is_made_once_and_can_be_read_in_a_container(
    root: Path, compose: dict[str, Any], tmp_path: Path
) -> None:
    script = tmp_path / "make-secrets.sh"
    shutil.copy(root / "deploy/make-secrets.sh", script)
    subprocess.run([str(script)], check=True, capture_output=True, timeout=60)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert made.pop(".gitignore") == "*\n"
    assert set(made) == set(compose["secrets"])
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch(r"[0-9a-f]{48}", password) for password in made.values())
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {(tmp_path / "secrets" / name).stat().st_mode & 0o777 for name in made} == {0o444}
    subprocess.run([str(script)], check=True, capture_output=True, timeout=60)
    assert {name: (tmp_path / "secrets" / name).read_text() for name in made} == made
