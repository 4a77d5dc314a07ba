"""Parameters of a URL, checked alike by every route."""

from __future__ import annotations

from collections.abc import Collection

from multidict import MultiMapping

from stockstream.errors import InvalidInput


def check_names(query: MultiMapping[str], names: Collection[str]) -> None:
    """Raise `InvalidInput` for a parameter that is not one of ``names``, or is given more than once."""
    for name in query:
        if name not in names:
            raise InvalidInput(f"{name!r} is no parameter: use {', '.join(names)}")
        if len(query.getall(name)) > 1:
            raise InvalidInput(f"{name} is given more than once")


def one_of(name: str, text: str, allowed: Collection[str]) -> str:
    """Return ``text``; raise `InvalidInput` if it is not allowed."""
    if text not in allowed:
        raise InvalidInput(f"{name}={text!r} is unknown: use one of {', '.join(allowed)}")
    return text
