from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from stockstream.web import limits
from stockstream.web.limits import Full, Rate, Slots, client_of, networks

PROXIES = networks(("10.0.0.0/8", "fd00::/8", "127.0.0.1"))


def test_places_are_counted_by_client_and_together() -> None:
    slots = Slots(3, 2)
    with slots.place("a"), slots.place("a"):
        with pytest.raises(Full) as full, slots.place("a"):
            raise AssertionError("it had two")
        assert (full.value.count, full.value.is_own) == (2, True)
        with slots.place("b"), pytest.raises(Full) as full, slots.place("c"):
            raise AssertionError("there were three")
        assert (full.value.count, full.value.is_own) == (3, False)
        with pytest.raises(ZeroDivisionError), slots.place("c"):
            1 / 0  # noqa: B018
        with slots.place("c"):
            pass
    assert not slots._held, "who holds nothing is forgotten"


def test_a_rate_allows_a_burst_and_then_its_pace() -> None:
    now_s = [50.0]
    rate = Rate(3, lambda: now_s[0])
    for _ in range(3):
        assert rate.wait_s("a") == 0
        rate.count("a")
    assert rate.wait_s("a") == pytest.approx(20)
    assert rate.wait_s("b") == 0
    now_s[0] += 19.9
    assert rate.wait_s("a") == pytest.approx(0.1)
    now_s[0] += 0.2
    assert rate.wait_s("a") == 0
    rate.count("a")
    assert rate.wait_s("a") == pytest.approx(19.9)
    now_s[0] += 3600
    for _ in range(3):
        assert rate.wait_s("a") == 0
        rate.count("a")
    assert rate.wait_s("a") > 0, "to be quiet for an hour buys no more than a minute"


def test_a_rate_remembers_so_many_clients_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_CLIENTS", 10)
    rate = Rate(1, lambda: 0.0)
    for number in range(50):
        rate.count(f"c{number}")
    assert len(rate._paid_s) == 10
    assert rate.wait_s("c49") > 0


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),  # says a stranger
        ("10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),  # what the client itself wrote is before it
        ("10.1.2.3", ["1.1.1.1", "198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.1.2.3", ["10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", ["unknown"], "10.1.2.3"),
        ("10.1.2.3", ["\r\nforged"], "10.1.2.3"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("fd00::1", ["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
        ("::1", [], "::/64"),
        ("::ffff:10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:198.51.100.7", [], "198.51.100.7"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, [], ""),
    ],
)
def test_who_a_client_is(peer: str | None, forwarded: list[str], client: str) -> None:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in forwarded])
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=peer or "")
    assert client_of(request, PROXIES) == client
