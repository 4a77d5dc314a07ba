from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException

from stockstream.testing.topics import ask_who_moves


def failing(codes: list[int]) -> Callable[[], str]:
    def ask() -> str:
        if codes:
            raise KafkaException(KafkaError(codes.pop(0)))
        return "answer"

    return ask


def test_a_leader_that_moves_is_asked_again() -> None:
    codes = [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.NOT_COORDINATOR]
    assert ask_who_moves(failing(codes)) == "answer"
    assert codes == []


def test_one_that_does_not_come_back_is_told() -> None:
    with pytest.raises(KafkaException):
        ask_who_moves(failing([KafkaError.NOT_LEADER_FOR_PARTITION] * 99), timeout_s=0)


def test_other_errors_are_told_at_once() -> None:
    codes = [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.NOT_COORDINATOR]
    with pytest.raises(KafkaException):
        ask_who_moves(failing(codes))
    assert len(codes) == 1
