from __future__ import annotations

import pytest
from multidict import MultiDict

from stockstream.errors import InvalidInput
from stockstream.web.query import check_names, one_of

NAMES = ("interval", "limit")


def test_known_names_may_each_be_given_once() -> None:
    check_names(MultiDict([("limit", "1"), ("interval", "1m")]), NAMES)
    check_names(MultiDict(), NAMES)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([("intervall", "1m")], "'intervall' is no parameter: use interval, limit"),
        ([("limit", "1"), ("limit", "1")], "limit is given more than once"),
    ],
)
def test_what_is_not_understood_is_never_passed_over(given: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(InvalidInput) as error:
        check_names(MultiDict(given), NAMES)
    assert str(error.value) == told


def test_a_choice_names_what_it_may_be() -> None:
    assert one_of("fill", "none", ("none", "previous")) == "none"
    with pytest.raises(InvalidInput, match="fill='all' is unknown: use one of none, previous"):
        one_of("fill", "all", ("none", "previous"))
