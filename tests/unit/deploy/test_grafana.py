"""What Grafana is provisioned with, and how its dashboards are laid out."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

NAMES = ["market", "pipeline"]
COLUMNS = 24


@pytest.fixture(scope="module")
def source(root: Path) -> dict[str, Any]:
    file = root / "deploy/grafana/provisioning/datasources/clickhouse.yml"
    (source,) = yaml.safe_load(file.read_text("utf-8"))["datasources"]
    return source


def test_the_data_source_is_the_compose_files_clickhouse(source: dict[str, Any], compose: dict[str, Any]) -> None:
    grafana = compose["services"]["grafana"]
    assert source["jsonData"]["host"] in compose["services"]
    secret = source["secureJsonData"]["password"].removeprefix("$__file{/run/secrets/").removesuffix("}")
    assert secret in grafana["secrets"]
    plugin, _, _ = grafana["environment"]["GF_PLUGINS_PREINSTALL_SYNC"].partition("@")
    assert source["type"] == plugin


def test_dashboards_are_mounted_where_grafana_looks(root: Path, compose: dict[str, Any]) -> None:
    file = root / "deploy/grafana/provisioning/dashboards/stockstream.yml"
    (provider,) = yaml.safe_load(file.read_text("utf-8"))["providers"]
    grafana = compose["services"]["grafana"]
    mounts = dict(volume.removesuffix(":ro").split(":") for volume in grafana["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert (root / "deploy/grafana/dashboards" / home.name).exists()
    for kind in ("datasources", "dashboards"):
        assert mounts[f"./deploy/grafana/provisioning/{kind}"] == f"/etc/grafana/provisioning/{kind}"


def test_the_dashboards_are_these(dashboards: dict[str, dict[str, Any]]) -> None:
    assert sorted(dashboards) == NAMES
    assert len({board["uid"] for board in dashboards.values()}) == len(NAMES)
    assert len({board["title"] for board in dashboards.values()}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_panels_are_distinct_and_do_not_overlap(dashboards: dict[str, dict[str, Any]], name: str) -> None:
    panels = dashboards[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    cells = {panel["id"]: _cells(panel["gridPos"]) for panel in panels}
    assert all(x < COLUMNS for taken in cells.values() for x, _ in taken)
    overlapping = [pair for pair in combinations(cells, 2) if cells[pair[0]] & cells[pair[1]]]
    assert overlapping == []


def _cells(grid: dict[str, int]) -> set[tuple[int, int]]:
    columns = range(grid["x"], grid["x"] + grid["w"])
    return {(x, y) for x in columns for y in range(grid["y"], grid["y"] + grid["h"])}


@pytest.mark.parametrize("name", NAMES)
def test_everything_asks_the_provisioned_source(
    dashboards: dict[str, dict[str, Any]], source: dict[str, Any], compose: dict[str, Any], name: str
) -> None:
    board = dashboards[name]
    expected = {"type": source["type"], "uid": source["uid"]}
    version = compose["services"]["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"].partition("@")[2]
    variables = [each for each in board["templating"]["list"] if each["type"] == "query"]
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    assert all(each["datasource"] == expected for each in (*board["panels"], *targets, *variables))
    assert {target["pluginVersion"] for target in targets} == {version}
    for panel in board["panels"]:
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_the_candlesticks_take_their_fields_by_name(dashboards: dict[str, dict[str, Any]]) -> None:
    (panel,) = [panel for panel in dashboards["market"]["panels"] if panel["type"] == "candlestick"]
    fields = panel["options"]["fields"]
    assert set(fields) == {"open", "high", "low", "close", "volume"}
    assert all(f"AS {column}" in panel["targets"][0]["rawSql"] for column in fields.values())
