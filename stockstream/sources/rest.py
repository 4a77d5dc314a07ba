"""A venue's REST interface, within its limits: weights are counted, and ``Retry-After`` is honoured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

import httpx

from stockstream.errors import RequestFailed
from stockstream.sources.limits import Sleep, retry_after_s

_MINUTE_S = 60.0
_SHARE = 0.8  # of the weight allowed: other programs have the same address
_SHOWN = 200
_BANNED, _TOO_MANY, _FIREWALL = 418, 429, 403


@dataclass(slots=True)
class Budget:
    """What was used of a minute's weight, and until when (steady seconds) the venue wants to be left alone, and why."""

    used: int = 0
    minute_ends_s: float = 0.0
    held_until_s: float = 0.0
    why_held: str = ""
    is_banned: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@cache
def _budget_of(host: str) -> Budget:
    """A venue counts by address, so all clients of a process have one budget for a host."""
    return Budget()


class RestClient:
    """Sends GET requests to ``base_url``, whose weights may add up to ``weight_per_minute`` (all clients of that host).

    ``used_header`` names the header that says how much the venue has counted. ``name`` is the venue's in errors.
    """

    def __init__(
        self,
        base_url: str,
        name: str,
        *,
        weight_per_minute: int,
        used_header: str,
        timeout_s: float = 10.0,
        steady_s: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name, self._used_header = name, used_header
        self._most = int(weight_per_minute * _SHARE)
        self._steady_s, self._sleep = steady_s, sleep
        self._budget = _budget_of(urlsplit(base_url).netloc)
        self._made = partial(httpx.AsyncClient, base_url=base_url, timeout=timeout_s, transport=transport)
        self._http: httpx.AsyncClient | None = None  # made when it is needed: that takes a tenth of a second

    async def get(self, path: str, params: Mapping[str, str | int], weight: int) -> Any:
        """The JSON that the venue answers with.

        Waits where the minute's weight is used up. Raises `RequestFailed`: at once and without asking where the venue
        has said that it wants to be left alone.
        """
        await self._spend(weight)
        try:
            if self._http is None:
                self._http = self._made()
            answer = await self._http.get(path, params=dict(params))
        except httpx.HTTPError as error:
            raise RequestFailed(f"{self._name} does not answer ({error or type(error).__name__})") from error
        self._learn(answer)
        if answer.status_code == httpx.codes.OK:
            try:
                return json.loads(answer.content)
            except (ValueError, RecursionError) as error:
                raise RequestFailed(f"{self._name} answers {path} with no JSON: {_shown(answer)}") from error
        raise self._refusal(answer)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._http is not None:
            await self._http.aclose()

    async def _spend(self, weight: int) -> None:
        budget = self._budget
        async with budget.lock:
            while True:
                now_s = self._steady_s()
                if (held_s := budget.held_until_s - now_s) > 0:
                    raise RequestFailed(budget.why_held, is_fatal=budget.is_banned, retry_after_s=held_s)
                if now_s >= budget.minute_ends_s:
                    budget.used, budget.minute_ends_s = 0, now_s + _MINUTE_S
                if not budget.used or budget.used + weight <= self._most:
                    budget.used += weight
                    return
                await self._sleep(budget.minute_ends_s - now_s)

    def _learn(self, answer: httpx.Response) -> None:
        used = answer.headers.get(self._used_header, "")
        if used.isdecimal():
            self._budget.used = max(self._budget.used, int(used))

    def _refusal(self, answer: httpx.Response) -> RequestFailed:
        status = answer.status_code
        pause_s = retry_after_s(answer.headers.get("Retry-After"))
        told, code = f"{self._name} answers HTTP {status}: {_shown(answer)}", None
        try:
            body = json.loads(answer.content)
            code, told = int(body["code"]), f"{self._name} answers HTTP {status}: {body['msg']} ({body['code']})"
        except (ValueError, LookupError, TypeError, RecursionError):
            pass  # not every refusal comes from the venue's own program
        if status in (_BANNED, _TOO_MANY):
            pause_s = _MINUTE_S if pause_s is None else pause_s
            if status == _BANNED:
                told = f"{self._name} has banned this address for {pause_s:.0f} s: fewer programs must ask from it"
            budget = self._budget
            budget.held_until_s = max(budget.held_until_s, self._steady_s() + pause_s)
            budget.why_held, budget.is_banned = told, status == _BANNED
        elif status == _FIREWALL:
            told = f"{self._name}'s firewall refuses this address (HTTP 403): ask less, or from another network"
        is_fatal = status != _TOO_MANY and httpx.codes.is_client_error(status)
        return RequestFailed(told, is_fatal=is_fatal, retry_after_s=pause_s, code=code)


def _shown(answer: httpx.Response) -> str:
    return " ".join(answer.text.split())[:_SHOWN]
