"""How much one client, and all of them together, may ask for."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

_WINDOW_S = 60.0
_MOST_CLIENTS = 10_000
_IPV6_CLIENT_BITS = 64  # what one customer of a provider is given

Networks = tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of the same names; the defaults are theirs."""

    max_body_bytes: int = 65_536
    max_url_bytes: int = 4096
    max_streams: int = 200
    max_streams_per_client: int = 50
    max_requests: int = 128
    max_requests_per_client: int = 64
    changes_per_minute: int = 600
    failed_keys_per_minute: int = 30
    send_timeout_s: float = 60.0


class Full(Exception):
    """All places are taken: of one client if ``is_own``, else of all together, ``count`` of them."""

    def __init__(self, count: int, *, is_own: bool) -> None:
        super().__init__(f"{count} are taken")
        self.count, self.is_own = count, is_own


class Slots:
    """Places that clients hold: at most ``most`` together, and ``most_per_client`` by each."""

    def __init__(self, most: int, most_per_client: int) -> None:
        self._most, self._most_per_client = most, most_per_client
        self._held: Counter[str] = Counter()
        self._count = 0

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Hold a place; `Full` if there is none."""
        if self._held[client] >= self._most_per_client:
            raise Full(self._most_per_client, is_own=True)
        if self._count >= self._most:
            raise Full(self._most, is_own=False)
        self._held[client] += 1
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]


class Rate:
    """At most ``per_minute`` of a client in a minute, all at once if it likes; ``steady_s`` is a steady clock.

    Of each client only the moment is kept at which all that it did is paid for; the longest quiet is forgotten when
    there are very many.
    """

    def __init__(self, per_minute: int, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._each_s = _WINDOW_S / per_minute
        self._steady_s = steady_s
        self._paid_s: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """How long until the client may go on; 0 if it may now."""
        ahead_s = self._paid_s.get(client, 0.0) + self._each_s - self._steady_s()
        return max(0.0, ahead_s - _WINDOW_S)

    def count(self, client: str) -> None:
        """Count one."""
        self._paid_s[client] = max(self._paid_s.get(client, 0.0), self._steady_s()) + self._each_s
        self._paid_s.move_to_end(client)
        if len(self._paid_s) > _MOST_CLIENTS:
            self._paid_s.popitem(last=False)


def networks(texts: tuple[str, ...]) -> Networks:
    """Addresses and networks such as ``10.0.0.0/8``; `ValueError` if one is neither."""
    return tuple(ip_network(text, strict=False) for text in texts)


def client_of(request: web.Request, proxies: Networks) -> str:
    """Who asks: the address of the connection, or where that is a proxy of ours, the last before it that is none.

    Proxies tell in ``X-Forwarded-For``; what anybody else says there is not believed. Of an IPv6 address it is the
    network of 64 bits.
    """
    client = request.remote or ""
    told = [text.strip() for text in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")]
    while told and _is_in(client, proxies):
        before = told.pop()
        if _address(before) is None:
            break
        client = before
    address = _address(client)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_CLIENT_BITS), strict=False))
    return str(address or client)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(text: str, proxies: Networks) -> bool:
    address = _address(text)
    return address is not None and any(address in proxy for proxy in proxies)
