"""A certificate authority of a test's own, made by the command ``openssl``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stockstream.testing.process import HOST

_VALID_DAYS = "7"
_CONFIG = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[issued]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True, slots=True)
class Issued:
    """PEM files of a certificate: itself, its key, which no password protects, and both of them in one."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Signs certificates; everything is written into ``folder``.

    Raises ``FileNotFoundError`` where there is no ``openssl``, and ``RuntimeError`` with what it says if it fails.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        self._openssl("authority", [], "req", "-x509", "-extensions", "authority", "-days", _VALID_DAYS,
                      *_new_key(name, self._key), "-out", str(self.certificate))  # fmt: skip

    def issue(self, name: str, names: Sequence[str] = (f"IP:{HOST}", "DNS:localhost")) -> Issued:
        """A certificate for ``names``, by default those of this machine, that servers and clients may show."""
        request, made = self._folder / f"{name}.csr", self._folder / f"{name}.pem"
        issued = Issued(made, self._folder / f"{name}.key", self._folder / f"{name}-both.pem")
        self._openssl(name, names, "req", "-new", *_new_key(name, issued.key), "-out", str(request))
        self._openssl(name, names, "x509", "-req", "-extensions", "issued", "-days", _VALID_DAYS, "-CAcreateserial",
                      "-CA", str(self.certificate), "-CAkey", str(self._key), "-in", str(request),
                      "-out", str(made))  # fmt: skip
        issued.both.write_text(issued.key.read_text() + issued.certificate.read_text())
        return issued

    def _openssl(self, name: str, names: Sequence[str], command: str, *arguments: str) -> None:
        openssl = shutil.which("openssl")
        if openssl is None:
            raise FileNotFoundError("there is no command openssl: run `make setup`, or install it")
        config = self._folder / f"{name}.cnf"
        config.write_text(_CONFIG.format(names=", ".join(names) or "DNS:nobody"))
        place = "-extfile" if command == "x509" else "-config"
        done = subprocess.run(
            [openssl, command, *arguments, place, str(config)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"openssl could not make {name}: {done.stderr}")


def _new_key(name: str, key: Path) -> list[str]:
    return ["-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-subj", f"/CN={name}"]
