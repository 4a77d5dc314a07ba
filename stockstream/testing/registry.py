"""A real schema registry: Apicurio, answering at Confluent's API."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from stockstream.testing.jars import java, quick_start
from stockstream.testing.process import HOST, SingleServer, free_ports, http_status

_API = "/apis/ccompat/v7"
_JVM = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"]


class RegistryServer(SingleServer):
    """Apicurio from ``home``, its unpacked archive.

    Subjects survive ``stop``, ``kill`` and ``start``; they are gone when the context is left.
    New subjects are checked for BACKWARD compatibility, Confluent's default; Apicurio's own is none at all.
    """

    def __init__(self, home: Path, options: Sequence[str] | None = None) -> None:
        """``options`` are further ones of its Java, in place of those for a quick start."""
        root = Path(tempfile.mkdtemp(prefix="stockstream-registry-"))
        self._port, management_port = free_ports(2)
        command = [
            *java(root),
            *_JVM,
            *(quick_start(home) if options is None else options),
            f"-Dquarkus.http.host={HOST}",
            f"-Dquarkus.http.port={self._port}",
            f"-Dquarkus.management.host={HOST}",
            f"-Dquarkus.management.port={management_port}",
            "-Dapicurio.storage.sql.kind=h2",
            f"-Dapicurio.datasource.url=jdbc:h2:file:{root / 'subjects'}",
            "-jar",
            str(home / "quarkus-run.jar"),
        ]
        super().__init__(root, command)

    @property
    def url(self) -> str:
        """What goes into ``SCHEMA_REGISTRY_URL``; the same after every start."""
        return f"http://{HOST}:{self._port}{_API}"

    def _ready(self) -> bool:
        return http_status(self._port, "PUT", f"{_API}/config", b'{"compatibility":"BACKWARD"}') == 200
