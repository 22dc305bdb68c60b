"""The number of shards is edited while clients write: nothing is lost, and no cluster client sees an error.

What the figures are is bench/slot_moves.py's matter, and twenty rounds of kills that of bench/move_kills.py;
here stands what must hold in every run. Gaps are printed beside that of an undisturbed time, because a
machine that runs tests has pauses of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest

from devcluster.clients import clients, shards_of, undisturbed_gap_s
from devcluster.dataset import Dataset
from devcluster.deployment import Deployment
from devcluster.faults import Fault
from devcluster.move_kills import MoveKills
from tests.e2e.conftest import RESOURCES

pytestmark = pytest.mark.cluster

# For shards of many keys: two thirds of it are maxmemory.
ROOMY = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
# More than this between two acknowledged writes is no pause of a slow machine.
GAP_LIMIT_S = 1.0


def keys_by_shard(deployment: Deployment) -> dict[int, int]:
    return {
        shard: int(deployment.client(deployment.master_of(shard)["status"]["podIP"]).dbsize())
        for shard in shards_of(deployment)
    }


def load(deployment: Deployment, count: int, size: int = 100) -> Dataset:
    dataset = Dataset(count, size)
    client = deployment.cluster_client()
    dataset.write(client)
    client.close()
    return dataset


def lost(deployment: Deployment, dataset: Dataset) -> int:
    client = deployment.cluster_client()
    try:
        return dataset.lost(client)
    finally:
        client.close()


def blocker_reasons(deployment: Deployment) -> list[str]:
    return [one["reason"] for one in deployment.resource()["status"].get("blockers", [])]


def test_a_shard_comes_and_goes_under_writers_and_no_client_sees_an_error(deployment: Deployment) -> None:
    deployment.apply(shards=3, replicasPerShard=1, resources=ROOMY)
    deployment.wait_ready()
    deployment.wait_synced()
    dataset = load(deployment, 200_000)
    calm_s = undisturbed_gap_s(deployment)
    for label, shards in (("out", 4), ("in", 3)):
        with clients(deployment, label) as working:
            began = deployment.apply(shards=shards, replicasPerShard=1, resources=ROOMY)
            deployment.wait_shards(shards)
            took_s = time.monotonic() - began
        print(
            f"{label}: {took_s:.1f} s, longest gap {working.gap_s:.3f} s "
            f"(undisturbed {calm_s:.3f} s), keys {keys_by_shard(deployment)}"
        )
        assert working.complaints() == []
        assert working.gap_s < GAP_LIMIT_S
        assert shards_of(deployment) == list(range(shards))
        if shards == 4:
            assert min(keys_by_shard(deployment).values()) > 40_000, "the keys are spread evenly"
    deployment.wait_synced()
    assert lost(deployment, dataset) == 0
    assert deployment.condition("DataLost") == "False"


def test_from_1_to_3_to_12_and_back_to_3_shards_no_canary_is_lost(deployment: Deployment) -> None:
    deployment.apply(shards=1, replicasPerShard=1, resources=RESOURCES)
    deployment.wait_ready()
    deployment.wait_synced()
    dataset = load(deployment, 20_000)
    with deployment.cluster_writer(pause_s=0.005) as application:
        for shards in (3, 12, 3):
            began = deployment.apply(shards=shards, replicasPerShard=1, resources=RESOURCES)
            deployment.wait_shards(shards)
            print(f"{shards} shards after {time.monotonic() - began:.1f} s")
            assert lost(deployment, dataset) == 0
    assert application.errors == []
    assert deployment.missing_keys(application) == []
    deployment.wait_synced()
    assert shards_of(deployment) == [0, 1, 2]


def test_the_operator_and_a_server_are_killed_during_moves_and_it_converges(
    deployment: Deployment, needs: Callable[..., None]
) -> None:
    needs(Fault.KILL)
    rounds = MoveKills(deployment, Random(20))
    rounds.begin()
    for number in range(2):
        print(rounds.run(number))
        assert rounds.lost == []


def test_a_spec_that_changes_back_in_mid_move_cancels_the_move_cleanly(deployment: Deployment) -> None:
    deployment.apply(shards=3, replicasPerShard=1, resources=ROOMY)
    deployment.wait_ready()
    deployment.wait_synced()
    dataset = load(deployment, 60_000)
    with clients(deployment, "back") as working:
        deployment.apply(shards=4, replicasPerShard=1, resources=ROOMY)
        deployment.wait_until(lambda: deployment.resource()["status"].get("moves"), 60, "slots move")
        deployment.apply(shards=3, replicasPerShard=1, resources=ROOMY)
        deployment.wait_shards(3)
    assert working.complaints() == []
    assert lost(deployment, dataset) == 0
    assert not deployment.resource()["status"].get("moves")
    assert shards_of(deployment) == [0, 1, 2]


def test_lesson_6_scale_in_with_a_silent_shard_blocks_and_goes_on_when_it_answers(
    deployment: Deployment, needs: Callable[..., None]
) -> None:
    needs(Fault.FREEZE)
    deployment.apply(shards=4, replicasPerShard=0, resources=RESOURCES)
    deployment.wait_ready()
    dataset = load(deployment, 4000)
    silent = deployment.master_of(1)["metadata"]["name"]
    before = {pod["metadata"]["uid"] for pod in deployment.pods()}
    deployment.platform.faults.freeze(silent, deployment.namespace)
    try:
        deployment.apply(shards=3, replicasPerShard=0, resources=RESOURCES)
        deployment.wait_until(lambda: blocker_reasons(deployment), 30, "a blocker says why")
        time.sleep(5)
        assert {pod["metadata"]["uid"] for pod in deployment.pods()} == before
        print(f"while silent: {blocker_reasons(deployment)}")
    finally:
        deployment.platform.faults.thaw(silent, deployment.namespace)
    deployment.wait_shards(3)
    assert lost(deployment, dataset) == 0


def test_lesson_5_scale_in_without_headroom_blocks_with_numbers(deployment: Deployment) -> None:
    tight = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "128Mi"}}
    deployment.apply(shards=2, replicasPerShard=0, resources=tight)
    deployment.wait_ready()
    host = deployment.master_of(0)["status"]["podIP"]
    limit = int(deployment.client(host).config_get("maxmemory")["maxmemory"])
    size = 10_000
    dataset = load(deployment, int(limit * 1.3 / (size + 200)), size)
    before = {pod["metadata"]["uid"] for pod in deployment.pods()}
    deployment.apply(shards=1, replicasPerShard=0, resources=tight)
    deployment.wait_until(lambda: blocker_reasons(deployment), 60, "a blocker says why")
    (blocker,) = deployment.resource()["status"]["blockers"]
    print(f"{blocker['reason']}: {blocker['evidence']}")
    assert any(character.isdigit() for character in blocker["evidence"])
    assert deployment.condition("Stalled") == "True"
    time.sleep(3)
    assert {pod["metadata"]["uid"] for pod in deployment.pods()} == before
    deployment.apply(shards=2, replicasPerShard=0, resources=tight)
    deployment.wait_until(lambda: deployment.condition("Stalled") == "False", 30, "it is taken back")
    assert lost(deployment, dataset) == 0
