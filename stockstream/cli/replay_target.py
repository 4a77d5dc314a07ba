"""Where a replay goes: topics and an app id of its own, so that no live table ever meets a tick of the past."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stockstream.errors import InvalidInput
from stockstream.settings import Settings
from stockstream.settings.model import OWN_TOPICS

PREFIX = "replay-"


@dataclass(frozen=True, slots=True)
class Target:
    """``topic`` is written; a worker that is called ``app_id`` and has ``prefix`` for its topics reads it.

    ``prefix`` is None where no worker can be told to read the topic and to write to topics of its own.
    """

    topic: str
    app_id: str
    prefix: str | None


def target_of(settings: Settings, topic: str | None, app_id: str | None) -> Target:
    """What the settings of the live system and the options make of it; raises `InvalidInput` for what is live.

    Settings whose prefix already is a replay's are those of a replay's worker: they are taken as they are.
    """
    is_replays = settings.topic_prefix.startswith(PREFIX)
    if app_id is None:
        app_id = settings.app_id if is_replays else PREFIX + settings.app_id
        prefix = settings.topic_prefix if is_replays else PREFIX + settings.topic_prefix
    elif is_replays or app_id != settings.app_id:
        prefix = f"{app_id}-" + settings.topic_prefix.removeprefix(PREFIX if is_replays else "")
    else:
        raise InvalidInput(
            f"--app-id {app_id} is the live worker's, whose tables must not meet ticks of the past: "
            f"take another, such as {PREFIX}{app_id}"
        )
    if topic is None:
        return Target(prefix + settings.tick_topics[0], app_id, prefix)
    if not is_replays and topic in {settings.topic(name) for name in (*settings.tick_topics, *OWN_TOPICS)}:
        raise InvalidInput(
            f"--topic {topic} is a live topic, in which a replay would change candles of today: leave --topic out, "
            f"and it goes to {prefix}{settings.tick_topics[0]}"
        )
    return Target(topic, app_id, prefix if topic.startswith(prefix) and topic != prefix else None)


def worker_command(settings: Settings, target: Target) -> str | None:
    """The command line of a worker for the target, with tables, topics, database and port apart from the live ones."""
    if target.prefix is None:
        return None
    variables = {
        "STOCKSTREAM_APP_ID": target.app_id,
        "STOCKSTREAM_TOPIC_PREFIX": target.prefix,
        "STOCKSTREAM_TICK_TOPICS": target.topic.removeprefix(target.prefix),
        "STOCKSTREAM_INGEST_ENABLED": "false",
        "STOCKSTREAM_DATA_DIR": str(Path(f"{settings.data_dir}-{target.app_id}")),
        "STOCKSTREAM_WEB_PORT": str(settings.web_port + 1),
    }
    place = urlsplit(settings.clickhouse_url)
    if place.scheme == "chdb":
        variables["CLICKHOUSE_URL"] = f"chdb://{place.path.rstrip('/')}-{target.app_id}"
    else:
        database = place.path.strip("/") or settings.clickhouse_database
        name = "".join(each if each.isalnum() else "_" for each in f"{database}_{target.app_id}")
        if place.path.strip("/"):
            where = place.netloc.rpartition("@")
            login = "user:password@" if where[0] else ""
            variables["CLICKHOUSE_URL"] = f"{place.scheme}://{login}{where[2]}/{name}"
        else:
            variables["STOCKSTREAM_CLICKHOUSE_DATABASE"] = name
    return " ".join((*(f"{name}={value}" for name, value in variables.items()), "faust -A stockstream worker"))
