"""Keys of venues, shown nowhere: what can be seen to be wrong with one before the venue is asked."""

from __future__ import annotations

import re

from pydantic import SecretStr

from stockstream.sources.contract import Guarded, NotAdmitted

_NEVER_IN_A_KEY = re.compile(r"[^!-~]|[\"'`<>]")


def revealed(secret: SecretStr | None) -> str:
    """The key without the blanks around it; empty if there is none."""
    return "" if secret is None else secret.get_secret_value().strip()


def flaw(variable: str, secret: SecretStr | None) -> str | None:
    """What is wrong with the key in an environment variable, by its characters alone; None if it may be one."""
    if _NEVER_IN_A_KEY.search(revealed(secret)) is None:
        return None
    return f"{variable} holds no key: there are blanks, quotes or other characters in it that none has"


async def refused_key(feed: Guarded) -> str | None:
    """What a venue says against the key when it is asked for an access token; None if nothing, or if it is away."""
    try:
        await feed.locate()
    except NotAdmitted as error:
        return error.fatal
    return None
