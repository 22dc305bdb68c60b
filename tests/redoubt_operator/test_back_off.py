"""When a container that waits in back-off is replaced with its pod, and when Kubernetes is left to it."""

from dataclasses import replace

import pytest

from redoubt_operator.actions import DeletePod
from tests.redoubt_operator.world import World


@pytest.mark.parametrize(
    ("exit_code", "reason", "ran_s", "is_replaced"),
    [
        (137, "Error", 3, True),  # killed from outside while it worked
        (137, "Error", 1, False),  # killed before it got to its work
        (137, "OOMKilled", 3, False),  # would be killed for its memory again
        (137, "OOMKilled", 30, True),
        (1, "Error", 3, False),  # ended by itself: a crash at start
        (1, "Error", 30, True),
    ],
)
def test_a_run_that_ended_by_accident_needs_no_pause(
    exit_code: int, reason: str, ran_s: float, is_replaced: bool
) -> None:
    world = World({"shards": 3, "replicasPerShard": 1})
    world.converge()
    world.now_s += 60
    world.kill("demo-0-1", down_for=5, reason=reason)
    host = world.hosts["demo-0-1"]
    last = host.pod.container.last_termination
    ended = replace(last, exit_code=exit_code, started_at_s=last.finished_at_s - ran_s)
    host.pod = replace(host.pod, container=replace(host.pod.container, last_termination=ended))
    deleted = [one.pod for one in world.reconcile().actions if isinstance(one, DeletePod)]
    assert deleted == (["demo-0-1"] if is_replaced else [])
