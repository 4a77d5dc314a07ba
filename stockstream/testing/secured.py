"""A real Kafka broker that asks for TLS and logins, beside the plain way in that a test itself takes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stockstream.testing.certificates import Authority
from stockstream.testing.kafka import KafkaCluster
from stockstream.testing.process import HOST, free_ports

USER, PASSWORD = "app", "sesame-6f1d"
MECHANISM = "SCRAM-SHA-512"
_SASL = "org.apache.kafka.common.security"


class SecuredKafka(KafkaCluster):
    """One broker with three ways in, each of which tells its clients of itself only.

    ``bootstrap`` and ``topics`` are plain, as in `KafkaCluster`. ``login`` are the settings for ``SASL_SSL``: the user
    above, by SCRAM-SHA-512, or by PLAIN. ``mutual`` are those for ``SSL`` where clients show certificates.
    """

    def __init__(self, libs: Path) -> None:
        self._keys = Path(tempfile.mkdtemp(prefix="stockstream-certificates-"))
        try:
            self.authority = Authority(self._keys)
            self._server = self.authority.issue("server", [f"IP:{HOST}"])  # and not for localhost
            self.client = self.authority.issue("client")
            self.login_port, self.mutual_port = free_ports(2)
            super().__init__(libs)
        except BaseException:
            shutil.rmtree(self._keys, ignore_errors=True)
            raise
        self._format_options = ["--add-scram", f"{MECHANISM}=[name={USER},password={PASSWORD}]"]

    @property
    def login(self) -> Mapping[str, str]:
        """Environment variables of a client that logs in."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.login_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": MECHANISM,
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CA_FILE": str(self.authority.certificate),
        }

    @property
    def mutual(self) -> Mapping[str, str]:
        """Environment variables of a client that shows a certificate."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.mutual_port}",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CA_FILE": str(self.authority.certificate),
            "KAFKA_SSL_CERT_FILE": str(self.client.certificate),
            "KAFKA_SSL_KEY_FILE": str(self.client.key),
        }

    def _properties(self, i: int) -> dict[str, str]:
        plain = super()._properties(i)
        more = f"LOGIN://{HOST}:{self.login_port},MUTUAL://{HOST}:{self.mutual_port}"
        login = "listener.name.login"
        return plain | {
            "listeners": f"{plain['listeners']},{more}",
            "advertised.listeners": f"{plain['advertised.listeners']},{more}",
            "listener.security.protocol.map": f"{plain['listener.security.protocol.map']},LOGIN:SASL_SSL,MUTUAL:SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._server.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.certificate),
            "listener.name.mutual.ssl.client.auth": "required",
            f"{login}.sasl.enabled.mechanisms": f"{MECHANISM},PLAIN",
            f"{login}.scram-sha-512.sasl.jaas.config": f"{_SASL}.scram.ScramLoginModule required;",
            f"{login}.plain.sasl.jaas.config": (f'{_SASL}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'),
        }

    def _close(self) -> None:
        super()._close()
        shutil.rmtree(self._keys, ignore_errors=True)
