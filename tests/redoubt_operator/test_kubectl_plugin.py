"""The screen of `kubectl redoubt status`, drawn from literals."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from redoubt_operator.kubectl_plugin import Screen, draw, failover_line, problems
from redoubt_operator.monitor import EVICTED, HITS, KEYS, LIMIT, MISSES, USED

MIB = 1024 * 1024


def manifest(**status: Any) -> dict[str, Any]:
    rows = [
        {
            "shard": 0,
            "slots": "0-16383",
            "master": "cache-0-1",
            "state": "Serving",
            "members": [
                {"pod": "cache-0-0", "role": "replica", "state": "InSync", "node": "node-1", "restarts": 2},
                {
                    "pod": "cache-0-1",
                    "role": "master",
                    "state": "Serving",
                    "node": "node-2",
                    "restarts": 0,
                    "memoryUsed": "40Mi",
                    "memory": 40,
                    "keys": 7,
                    "hitRate": 90,
                    "evictedPerSecond": 3,
                },
            ],
        }
    ]
    return {
        "metadata": {"namespace": "shop", "name": "cache", "generation": 2},
        "status": {
            "observedGeneration": 2,
            "phase": "Running",
            "message": "all 16384 slots are served",
            "slots": 16384,
            "members": "1/1",
            "shards": rows,
            **status,
        },
    }


def lines(screen: Screen) -> list[str]:
    output = io.StringIO()
    draw(screen, Console(file=output, width=200))
    return [line.rstrip() for line in output.getvalue().splitlines()]


def words(line: str) -> list[str]:
    return line.split()


LIVE = {USED: 50.0 * MIB, LIMIT: 100.0 * MIB, KEYS: 1000.0, HITS: 30.0, MISSES: 10.0, EVICTED: 5.0}


def test_replicas_stand_under_their_master_with_node_zone_and_live_figures() -> None:
    shown = lines(Screen(manifest(), {"cache-0-0": LIVE, "cache-0-1": LIVE}, {"node-1": "a", "node-2": "b"}))
    assert shown[0] == "cache (namespace shop)   Running   16384 slots, 1/1 masters/replicas"
    assert shown[1] == "all 16384 slots are served"
    figures = ["50Mi/100Mi", "50%", "1000", "75%", "5"]
    assert words(shown[3]) == ["0", "0-16383", "cache-0-1", "master", "Serving", "node-2", "b", *figures, "0"]
    assert words(shown[4]) == ["└", "cache-0-0", "replica", "InSync", "node-1", "a", *figures, "2"]
    assert len(shown) == 5


def test_pod_that_cannot_be_asked_has_the_figures_of_the_status_and_the_screen_says_so() -> None:
    shown = lines(Screen(manifest(), {"cache-0-0": LIVE, "cache-0-1": {}}, {}))
    assert words(shown[3])[-6:] == ["40Mi", "40%", "7", "90%", "3/s", "0"]
    assert shown[-1] == "figures of the last status for 1 of 2 pods"


def test_what_is_wrong_stands_above_the_table_with_its_hint() -> None:
    status = manifest()["status"] | {
        "blockers": [
            {
                "shard": 1,
                "reason": "PodCannotStart",
                "evidence": "pod cache-1-0 ImagePullBackOff",
                "hint": "fix it",
            }
        ],
        "conditions": [
            {"type": "Ready", "status": "False", "message": "slots are not served"},
            {"type": "Evicting", "status": "False", "message": "no evictions"},
            {"type": "SomethingNew", "status": "True", "message": "of a newer operator"},
        ],
    }
    assert problems(status) == [
        "! shard 1: PodCannotStart: pod cache-1-0 ImagePullBackOff",
        "  fix it",
        "! Ready is False: slots are not served",
    ]


def test_last_failover_is_told_with_its_measured_time() -> None:
    status = {
        "lastFailover": {
            "shard": 2,
            "from": "cache-2-0",
            "to": "cache-2-1",
            "at": "2026-01-01T00:00:00Z",
            "unavailableSeconds": "0.12",
        }
    }
    assert failover_line(status) == (
        "last failover: shard 2 from cache-2-0 to cache-2-1 at 2026-01-01T00:00:00Z, 0.12 s without a master"
    )
    assert failover_line({}) == ""


def test_spec_that_the_operator_has_not_seen_is_said() -> None:
    shown = lines(Screen(manifest(observedGeneration=1), {"cache-0-0": LIVE, "cache-0-1": LIVE}, {}))
    assert shown[-1] == "the operator has not seen the newest spec yet"


def test_resource_without_status_is_drawn() -> None:
    bare = {"metadata": {"namespace": "shop", "name": "cache", "generation": 1}}
    assert lines(Screen(bare, {}, {}))[1] == "the operator has not looked at it yet"
