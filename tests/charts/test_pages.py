"""Charts and their pages name the same values, alerts and version. Needs neither helm nor a cluster."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from tests.charts.installation import CLUSTER_CHART, OPERATOR_CHART, ROOT


@pytest.mark.parametrize("chart", [OPERATOR_CHART, CLUSTER_CHART], ids=lambda chart: chart.name)
def test_the_readme_of_a_chart_names_every_value(chart) -> None:
    words = set(re.findall(r"`([A-Za-z.]+)`", (chart / "README.md").read_text()))
    named = {word.partition(".")[0] for word in words}
    assert set(yaml.safe_load((chart / "values.yaml").read_text())) <= named


def test_the_page_on_installing_lists_every_alert() -> None:
    alerts = yaml.safe_load((OPERATOR_CHART / "files" / "alerts.yaml").read_text())
    page = (ROOT / "docs" / "install.md").read_text()
    assert re.findall(r"^\| `(Redoubt\w+)` \|", page, re.MULTILINE) == [one["alert"] for one in alerts]


def test_charts_and_manifests_have_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for chart in (OPERATOR_CHART, CLUSTER_CHART):
        about = yaml.safe_load((chart / "Chart.yaml").read_text())
        assert (about["version"], about["appVersion"]) == (version, version)
    kustomization = yaml.safe_load((ROOT / "manifests" / "kustomization.yaml").read_text())
    assert kustomization["labels"][0]["pairs"]["app.kubernetes.io/version"] == version
