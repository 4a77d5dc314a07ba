"""The image: what is copied, installed and asked of it, as far as that can be told without building it."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stockstream.settings import Settings


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> str:
    return (root / "Dockerfile").read_text("utf-8")


def test_it_has_no_rights_and_the_version_of_the_project(dockerfile: str, project: dict[str, Any]) -> None:
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^ARG VERSION=(.*)$", dockerfile, re.MULTILINE) == [project["version"]]


def test_its_variables_are_settings(image_environment: dict[str, str], dockerfile: str, tmp_path: Path) -> None:
    given = {name: value for name, value in image_environment.items() if name.startswith("STOCKSTREAM_")}
    settings = Settings.load(given, tmp_path)
    assert re.findall(r"^VOLUME (.*)$", dockerfile, re.MULTILINE) == [str(settings.data_dir)]
    assert re.findall(r"^EXPOSE (.*)$", dockerfile, re.MULTILINE) == [str(settings.web_port)]


def test_what_is_copied_is_there_and_not_ignored(dockerfile: str, root: Path) -> None:
    copied = [word for line in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile, re.MULTILINE) for word in line.split()]
    lines = (root / ".dockerignore").read_text("utf-8").splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    assert sorted(name.removeprefix("./") for name in copied) == sorted(let_in)
    assert all((root / name).exists() for name in copied)
    assert not any(fnmatch.fnmatch(name, "*secret*") for name in let_in)


def needed(requirements: Iterable[str], extra: str, seen: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Every (package, extra) that the requirements of a package bring along, "" standing for none."""
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            name = canonicalize_name(requirement.name)
            for each in {(name, ""), *((name, more) for more in requirement.extras)} - seen:
                seen.add(each)
                needed(distribution(name).requires or [], each[1], seen)
    return seen


def test_the_lock_pins_all_that_it_installs(root: Path, project: dict[str, Any]) -> None:
    lines = (root / "requirements.lock").read_text("utf-8").split()
    locked = {canonicalize_name(name): pinned for name, pinned in (line.split("==") for line in lines)}
    names = {name for name, _ in needed(project["dependencies"], "", set())}
    assert len(names) > 20
    assert {name: locked.get(name) for name in names} == {name: version(name) for name in names}
    assert names.isdisjoint({"chdb", "confluent-kafka", "pytest", "mypy"})


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1), (None, 1)])
def test_the_health_check_tells_life_from_death(dockerfile: str, status: int | None, exit_code: int) -> None:
    command = json.loads(re.search(r"HEALTHCHECK .*?CMD (\[.*?\])$", dockerfile, re.DOTALL | re.MULTILINE)[1])
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if status is None:
            server.server_close()
        else:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            run = subprocess.run(
                [sys.executable, *command[1:]],
                env={"STOCKSTREAM_WEB_PORT": str(server.server_port)},
                capture_output=True,
                timeout=60,
                check=False,
            )
        finally:
            if status is not None:
                server.shutdown()
    assert command[0] == "python"
    assert run.returncode == exit_code, run.stderr
    assert asked == ([] if status is None else ["/health/live"])
