"""What a simulated market is like, as its URL says: ``sim:?seed=7&ticks_per_s=20&duplicates=0.01``."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stockstream.errors import SettingsError

URL = "sim:"

_Share = Annotated[float, Field(ge=0, le=1)]


def url_of(**options: float | None) -> str:
    """The URL that says these options, those that are None left out."""
    query = urlencode({name: value for name, value in options.items() if value is not None})
    return f"{URL}?{query}" if query else URL


class Options(BaseModel):
    """The options of a URL and their defaults, with which nothing goes wrong.

    Each symbol has ``ticks_per_s`` trades on average. Of all trades a share of ``duplicates`` comes twice, each up to
    2 s after the first; every one comes up to ``disorder_ms`` after it happened, and a share of ``late`` as much as
    ``late_s`` after it; before a share of ``id_jumps`` up to 20 are lost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: int = 0
    ticks_per_s: Annotated[float, Field(ge=0.1, le=1000)] = 1.0
    duplicates: _Share = 0.0
    disorder_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    late: _Share = 0.0
    late_s: Annotated[int, Field(ge=1, le=86_400)] = 1200
    id_jumps: _Share = 0.0

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL; raises `SettingsError` if it is none, or says what no option is."""
        name, _, query = url.partition("?")
        if name != URL:
            raise SettingsError(f"{url} is no simulated market: must be {URL} or {URL}?seed=7&ticks_per_s=20")
        try:
            given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
            return cls.model_validate(dict(given))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = first["loc"][0] if first["loc"] else "a name"
            if first["type"] == "extra_forbidden":
                reason = f"{key} is no option of it: there are {', '.join(cls.model_fields)}"
            else:
                reason = f"{key} is {first['input']!r}: {first['msg'].replace('Input should', 'must')}"
            raise SettingsError(f"the simulated market {url} cannot be: {reason}") from error
        except ValueError as error:
            raise SettingsError(
                f"the simulated market {url} cannot be: options are {URL}?name=value&name=value"
            ) from error

    @property
    def has_bad_luck(self) -> bool:
        """Whether anything is ever lost, delayed or repeated."""
        return any((self.duplicates, self.disorder_ms, self.late, self.id_jumps))
