"""The operations page names every flag, metric, Event and field that there is: a new one without it fails."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from redoubt_operator import execute
from redoubt_operator.metrics import Metrics, PodFigures
from redoubt_operator.observation import MemberStatus, Sample
from redoubt_operator.settings import read_settings
from redoubt_operator.workqueue import Key

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


def test_every_flag_and_variable_is_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--help"], {})
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert "--namespace" in flags
    assert [flag for flag in sorted(flags) if f"`{flag}`" not in PAGE] == []


def test_every_metric_is_on_the_page() -> None:
    metrics = Metrics()
    metrics.watch_queue(lambda: 0, lambda: 0)
    sample = Sample(0.0, 1, 2, hit_ratio=0.5, replica_lag_bytes=1)
    metrics.watch_pods(lambda: [PodFigures(Key("ns", "cache"), 0, "cache-0-0", "master", sample)])
    names = re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)$", metrics.render().decode(), re.MULTILINE)
    shown = [name for name in names if not name.endswith("_created")]
    assert len(shown) > 15
    assert [name for name in shown if f"`{name}`" not in PAGE] == []


def test_every_field_of_redoubt_status_is_on_the_page() -> None:
    names = [field.name.replace("_", "-") for field in fields(MemberStatus)]
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_every_event_of_an_action_is_on_the_page() -> None:
    reasons = [reason for _, reason in execute._TOLD.values()]
    assert [reason for reason in reasons if f"`{reason}`" not in PAGE] == []
