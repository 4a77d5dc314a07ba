"""Where settings come from: the environment and the config file. Unknown names in either are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from stockstream.errors import SettingsError

PREFIX = "STOCKSTREAM_"
CONFIG = "STOCKSTREAM_CONFIG"
_SHARED = {"schema_registry_url", "symbols", "clickhouse_url"}
_SHARED |= {"finnhub_api_token", "ssi_consumer_id", "ssi_consumer_secret"}
_NOT_OURS = ("STOCKSTREAM_PORT", "STOCKSTREAM_SERVICE_", "STOCKSTREAM_TEST_")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return name.upper() if name in _SHARED or name.startswith("kafka_") else PREFIX + name.upper()


def is_secret(field: FieldInfo) -> bool:
    """Whether the setting's value must never be shown."""
    return "SecretStr" in str(field.annotation)


class _Source(PydanticBaseSettingsSource):
    """Values by setting's name, and what to call the place that each comes from."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def __call__(self) -> dict[str, Any]:
        return self.values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self.values.get(field_name), field_name, False

    def take(self, given: Mapping[str, Any], names: Mapping[str, str], place: str, base: Path) -> None:
        """Take what ``given`` has under each setting's name there, or a secret from the file under ``…_file``."""
        for name, field in self.settings_cls.model_fields.items():
            there = names[name]
            suffix = "_FILE" if there.isupper() else "_file"
            if there in given:
                self.values[name], self.origins[name] = given[there], f"{there} in {place}"
            if is_secret(field) and there + suffix in given:
                if there in given:
                    raise SettingsError(f"{there} and {there}{suffix} are both set in {place}: keep one")
                self.values[name] = _content(base / str(given[there + suffix]), there + suffix)
                self.origins[name] = f"{there}{suffix} in {place}"


class Environment(_Source):
    """Environment variables; raises `SettingsError` for an unknown one with our prefix."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        names = {name: variable(name) for name in settings_cls.model_fields}
        known = {*names.values(), *(f"{names[n]}_FILE" for n, f in settings_cls.model_fields.items() if is_secret(f))}
        for name in environ:
            if name.startswith(PREFIX) and name not in known and name != CONFIG and not name.startswith(_NOT_OURS):
                raise SettingsError(f"{name} is no setting: the nearest is {_nearest(name, known)}")
        self.take({name: value for name, value in environ.items() if value}, names, "the environment", Path())


class ConfigFile(_Source):
    """The TOML file that is ``named`` or, if there is one, ``stockstream.toml`` in ``cwd``.

    Raises `SettingsError` if it cannot be read or holds an unknown key.
    """

    def __init__(self, settings_cls: type[BaseSettings], named: str, cwd: Path) -> None:
        super().__init__(settings_cls)
        path = cwd / (named or "stockstream.toml")
        if not named and not path.exists():
            return
        given = _parsed(path)
        names = {name: name for name in settings_cls.model_fields}
        known = {*names, *(f"{n}_file" for n, f in settings_cls.model_fields.items() if is_secret(f))}
        for key in given:
            if key not in known:
                raise SettingsError(f"{path}: {key} is no setting: the nearest is {_nearest(key, known)}")
        self.take(given, names, str(path), path.parent)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is no TOML: {error}") from error


def _content(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name}: {path} cannot be read: {error}") from error


def _nearest(name: str, known: set[str]) -> str:
    return get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
