"""The schema in ClickHouse, brought up to date in numbered steps."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from stockstream.errors import SettingsError

logger = logging.getLogger(__name__)

# Table, database or column is already there: another worker took the same step a moment ago.
_ALREADY_DONE = {44, 57, 82}


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. Its statements do nothing where they were carried out before, since several workers may run them."""

    version: int
    name: str
    statements: tuple[str, ...]


def migrations() -> tuple[Migration, ...]:
    """Every step that ships with this release, first to last. A published one never changes; append another."""
    steps = []
    for file in files("stockstream.sinks").joinpath("schema").iterdir():
        if not file.name.endswith(".sql"):
            continue
        number, _, name = file.name.removesuffix(".sql").partition("_")
        statements = (part.strip() for part in file.read_text("utf-8").split(";\n"))
        steps.append(Migration(int(number), name, tuple(s for s in statements if s)))
    return tuple(sorted(steps, key=lambda step: step.version))


def quoted(database: str) -> str:
    """The database's name fit for SQL; raises `SettingsError` if it is none."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", database):
        raise SettingsError(f"{database!r} is no database name: use letters, digits and _, no digit first")
    return f"`{database}`"


def migrate(client: Client, database: str, steps: Sequence[Migration]) -> list[int]:
    """Carry out the steps that the database lacks, in order; return their versions.

    A database that is further on than ``steps`` is left as it is, so that old and new workers can run side by side
    during an upgrade. Errors are the driver's.
    """
    name = quoted(database)
    _run(client, f"CREATE DATABASE IF NOT EXISTS {name}")
    _run(
        client,
        f"CREATE TABLE IF NOT EXISTS {name}.schema_migrations (version UInt32, name String,"
        " applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree ORDER BY version",
    )
    known = client.query(f"SELECT version FROM {name}.schema_migrations")  # noqa: S608 - a checked name
    done = {row[0] for row in known.result_rows}
    newest = max((step.version for step in steps), default=0)
    if done and max(done) > newest:
        logger.warning("%s has schema version %s, this release knows %s", database, max(done), newest)
    applied = []
    for step in steps:
        if step.version in done:
            continue
        for statement in step.statements:
            _run(client, statement.replace("{database}", name))
        client.insert(f"{name}.schema_migrations", [[step.version, step.name]], column_names=["version", "name"])
        logger.info("%s: schema version %s, %s", database, step.version, step.name)
        applied.append(step.version)
    return applied


def set_tick_retention(client: Client, database: str, days: int) -> None:
    """Have archived ticks deleted ``days`` after they happened; 0 keeps them. Does nothing if it is so already."""
    rows = client.query(
        "SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = 'ticks'",
        parameters={"database": database},
    ).result_rows
    present = re.search(r"TTL event_date \+ toIntervalDay\((\d+)\)", rows[0][0]) if rows else None
    if days == (int(present[1]) if present else 0):
        return
    table = f"{quoted(database)}.ticks"
    if days:
        _run(client, f"ALTER TABLE {table} MODIFY TTL event_date + toIntervalDay({int(days)})")
    else:
        _run(client, f"ALTER TABLE {table} REMOVE TTL")
    logger.info("%s: ticks are kept %s", table, f"{days} days" if days else "for ever")


def _run(client: Client, statement: str) -> None:
    try:
        client.command(statement)
    except DatabaseError as error:
        if error.code not in _ALREADY_DONE:
            raise
        logger.debug("another worker was faster: %s", error)
