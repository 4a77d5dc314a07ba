from __future__ import annotations

import pytest

from stockstream.cli.replay_target import Target, target_of, worker_command
from stockstream.errors import InvalidInput
from stockstream.settings import Settings


def test_a_replay_has_topics_and_an_app_id_of_its_own() -> None:
    assert target_of(Settings(), None, None) == Target("replay-yfinance", "replay-stockstream", "replay-")
    dev = Settings(topic_prefix="dev.", app_id="dev", tick_topics=("crypto-prices", "yfinance"))
    assert target_of(dev, None, None) == Target("replay-dev.crypto-prices", "replay-dev", "replay-dev.")


def test_an_app_id_gives_the_topics_their_prefix() -> None:
    assert target_of(Settings(), None, "monday") == Target("monday-yfinance", "monday", "monday-")


def test_the_settings_of_a_replays_worker_are_taken_as_they_are() -> None:
    replays = Settings(topic_prefix="replay-dev.", app_id="again")
    expected = Target("replay-dev.yfinance", "again", "replay-dev.")
    assert target_of(replays, None, None) == expected
    assert target_of(replays, "replay-dev.yfinance", None) == expected
    assert target_of(replays, None, "again").app_id == "again"


def test_the_live_app_id_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"--app-id stockstream is the live worker's.*such as replay-stockstream"):
        target_of(Settings(), None, "stockstream")


@pytest.mark.parametrize("topic", ["yfinance", "crypto-prices", "candles", "latest", "subscriptions", "dead-letters"])
def test_live_topics_are_refused(topic: str) -> None:
    for prefix in ("", "dev."):
        with pytest.raises(InvalidInput, match=f"--topic {prefix}{topic} is a live topic.*it goes to replay-"):
            target_of(Settings(topic_prefix=prefix), prefix + topic, None)


def test_a_topic_outside_of_the_prefix_has_no_worker() -> None:
    target = target_of(Settings(), "history", None)
    assert target == Target("history", "replay-stockstream", None)
    assert worker_command(Settings(), target) is None
    assert target_of(Settings(), "replay-history", None).prefix == "replay-"


def variables(settings: Settings) -> dict[str, str]:
    command = worker_command(settings, target_of(settings, None, None))
    assert command is not None
    *given, faust, _, app, worker = command.split()
    assert (faust, app, worker) == ("faust", "stockstream", "worker")
    return dict(pair.split("=", 1) for pair in given)


def test_the_worker_of_a_replay_shares_nothing_with_the_live_one() -> None:
    live = Settings(clickhouse_url="http://db:8123", web_port=7000)
    given = variables(live)
    theirs = Settings.load({"CLICKHOUSE_URL": "http://db:8123", **given})
    assert theirs.topic(theirs.tick_topics[0]) == "replay-yfinance"
    assert len(theirs.tick_topics) == 1
    assert not theirs.ingest_enabled
    for name in ("app_id", "topic_prefix", "clickhouse_database", "data_dir", "web_port"):
        assert getattr(theirs, name) != getattr(live, name)
    assert theirs.clickhouse_url == live.clickhouse_url


@pytest.mark.parametrize(
    ("url", "replays"),
    [
        ("chdb:///data/candles", "chdb:///data/candles-replay-stockstream"),
        ("https://me:secret@db:8443/market", "https://user:password@db:8443/market_replay_stockstream"),
    ],
)
def test_a_url_that_names_the_database_gets_another_and_tells_no_password(url: str, replays: str) -> None:
    assert variables(Settings(clickhouse_url=url))["CLICKHOUSE_URL"] == replays
