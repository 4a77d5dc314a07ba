"""How to reach Kafka."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiokafka.helpers import create_ssl_context


@dataclass(frozen=True, slots=True)
class Connection:
    """Addresses and credentials of the brokers; ``bootstrap_servers`` is comma-separated ``host:port``.

    ``security_protocol`` is ``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``; ``ssl_ca_file`` is a PEM file
    with the authorities that may vouch for brokers, in place of the system's. ``ssl_cert_file`` is one with our own
    certificate, for brokers that ask for it, and its key, unless that is in ``ssl_key_file``.
    """

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_ca_file: str | None = None
    ssl_cert_file: str | None = None
    ssl_key_file: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)

    def aiokafka(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client; reads the files, so it may raise `OSError`."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
        }
        if self.sasl_mechanism is not None:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = create_ssl_context(
                cafile=self.ssl_ca_file,
                certfile=self.ssl_cert_file,
                keyfile=self.ssl_key_file,
                password=self.ssl_key_password or "",  # without any, OpenSSL asks for one at the terminal
            )
        return options
