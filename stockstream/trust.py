"""Servers whose certificates are not trusted, told in the same words whoever is connected to, and by which client."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

_OTHER_NAME = {62, 64}  # OpenSSL's codes for a certificate of another host or address


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came of, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def distrust_of(error: BaseException, *, ca_setting: str, address_setting: str) -> str | None:
    """What is wrong with a server's certificate and which setting mends that; None if ``error`` has another cause.

    The text goes on from the server's name, and shows no more than what OpenSSL says.
    """
    for cause in causes_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code in _OTHER_NAME:
                return (
                    f"shows a certificate of another name ({cause.verify_message}): set {address_setting} to a name "
                    "that is in it"
                )
            return (
                f"shows a certificate that is not trusted ({cause.verify_message}): set {ca_setting} to that of the "
                "authority that signed it"
            )
    return None
